"""SpeechBrain's ECAPA-TDNN and ResNet34 (spkrec-ecapa-voxceleb, spkrec-resnet-voxceleb).

A pretrained model's folder holds `embedding_model.ckpt`; `hyperparams.yaml`, whose front end is compared with the one
here and which knows dilations; `classifier.ckpt` and `label_encoder.txt`, which name the training speakers. The file
alone is taken to be trained as SpeechBrain's recipes train it.
"""

import ast
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speakerlab import InputError
from speakerlab.inference.peers.imported import (
    Imported,
    Rules,
    file_in,
    flat_blocks,
    in_encoder,
    override,
    read_tensors,
    renamed,
    shape_of,
    split_context,
)
from speakerlab.inference.peers.se_resnet import ATTENTION_RULES, BLOCK_RULES, stage_sizes
from speakerlab.inference.peers.settings import check_settings, part, read_settings

WEIGHTS, SETTINGS, CLASSIFIER, LABELS = (
    "embedding_model.ckpt",
    "hyperparams.yaml",
    "classifier.ckpt",
    "label_encoder.txt",
)
MEAN_OF_EMBEDDINGS = "mean_var_norm_emb.ckpt"
VARIANCE_FLOOR = "1.0e-12"  # of ECAPA-TDNN's pooling

ECAPA_RULES: Rules = (  # it wraps each convolution and batch norm of torch's once more: `conv.conv`, `norm.norm`
    (r"\b(conv|norm|conv1|conv2)\.(?:conv|norm)\.(\w+)$", r"\1.\2"),
    (r"^(asp_bn|fc)\.(?:norm|conv)\.", r"\1."),
    (r"^blocks\.0\.", "stem."),
    (r"\.tdnn1\.", ".expand."),
    (r"\.res2net_block\.blocks\.", ".res2.layers."),
    (r"\.tdnn2\.", ".merge."),
    (r"\.se_block\.conv1\.", ".se.squeeze."),
    (r"\.se_block\.conv2\.", ".se.excite."),
    (r"^mfa\.", "aggregate."),
    (r"^asp\.tdnn\.conv\.", "pooling.frame_projection."),
    (r"^asp\.tdnn\.norm\.", "pooling.norm."),
    (r"^asp\.conv\.", "pooling.score."),
    (r"^asp_bn\.", "pooling_norm."),
    (r"^fc\.", "project."),
)
LINEAR = ("squeeze.weight", "excite.weight", "project.weight")  # 1x1 convolutions over one frame there
RESNET_RULES: Rules = (
    *BLOCK_RULES,
    *ATTENTION_RULES,
    (r"^conv1\.", "stem.layer.conv."),
    (r"^bn1\.", "stem.layer.norm."),
    (r"^norm_stats\.", "pooling_norm."),
    (r"^fc_embed\.", "project."),
    (r"^norm_embed\.", "embedding_norm."),
)
FRONT_END = {  # what SpeechBrain's Fbank may be given, besides the number of mels
    "deltas": (False,),
    "context": (False,),
    "sample_rate": (16000,),
    "f_min": (0,),
    "f_max": (None, 8000),
    "n_fft": (400,),
    "filter_shape": ("triangular",),
    "win_length": (25,),
    "hop_length": (10,),
}
NORMALISATION = {"norm_type": ("sentence",), "std_norm": (False,), "mean_norm": (True,)}


def read(path: Path) -> Imported:
    """What is in `embedding_model.ckpt`, or in a folder that holds it.

    Raises:
        InputError: if it can't be read, is neither of the two networks, or has another front end.
    """
    source = file_in(path, [WEIGHTS])
    state = read_tensors(source)
    settings = _settings(path / SETTINGS) if path.is_dir() and (path / SETTINGS).is_file() else {}
    if "blocks.0.conv.conv.weight" in state:
        imported = _ecapa(source, state, settings)
    elif "fc_embed.weight" in state:
        imported = _resnet(source, state, settings)
    else:
        raise InputError(
            f"{source} is neither an ECAPA-TDNN nor a ResNet of SpeechBrain: it begins with {next(iter(state))}"
        )
    imported.overrides += ["features=speechbrain_fbank", "norm=mean", "loss=aam", "loss.scale=30"]
    imported.overrides.append(f"features.num_mels={_mels(state)}")
    if not settings:
        imported.notes.append(f"no {SETTINGS} was read: features and dilations are those of SpeechBrain's recipes")
    if path.is_dir():
        _add_classifier(imported, path)
    return imported


def ecapa_weights(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights for `speakerlab.encoders.ecapa.Ecapa`, and their names in `state`.

    Args:
        state: of `speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN`, such as the file `embedding_model.ckpt` of
            spkrec-ecapa-voxceleb.
    """
    weights, origins = renamed(state, ECAPA_RULES)

    def place(name: str) -> str:  # their first block is the stem, so that the others count from one
        return re.sub(r"^blocks\.(\d+)\.", lambda found: f"blocks.{int(found[1]) - 1}.", name)

    origins = {place(name): origin for name, origin in origins.items()}
    weights = {place(name): tensor.squeeze(-1) if name.endswith(LINEAR) else tensor for name, tensor in weights.items()}
    if _sees_context(state):
        split_context(weights, origins)
    return weights, origins


def _ecapa(source: Path, state: dict[str, Tensor], settings: dict[str, Any]) -> Imported:
    model = "ECAPA-TDNN of SpeechBrain"
    channels = shape_of(state, "blocks.0.conv.conv.weight", 3, model)[0]
    numbers = {int(found[1]) for found in (re.match(r"blocks\.(\d+)\.", name) for name in state) if found}
    inner = len(numbers) - 1
    res2 = {
        found[1] for found in (re.match(r"blocks\.1\.res2net_block\.blocks\.(\d+)\.", name) for name in state) if found
    }
    sizes = {
        "channels": channels,
        "pooled_channels": shape_of(state, "mfa.conv.conv.weight", 3, model)[0],
        "embed_dim": shape_of(state, "fc.conv.weight", 3, model)[0],
        "se_bottleneck": shape_of(state, "blocks.1.se_block.conv1.conv.weight", 3, model)[0],
        "scale": len(res2) + 1,
        "dilations": _dilations(settings, inner),
    }
    overrides = ["model=ecapa_speechbrain", *(override(f"model.encoder.{name}", size) for name, size in sizes.items())]
    overrides += [
        override("pooling.bottleneck", shape_of(state, "asp.tdnn.conv.conv.weight", 3, model)[0]),
        override("pooling.global_context", _sees_context(state)),
        override("pooling.variance_floor", VARIANCE_FLOOR),
    ]
    weights, origins = ecapa_weights(state)
    return Imported(source, f"an {model}", "speechbrain_ecapa", overrides, in_encoder(weights), in_encoder(origins))


def _sees_context(state: dict[str, Tensor]) -> bool:
    model = "ECAPA-TDNN of SpeechBrain"
    pooled = shape_of(state, "mfa.conv.conv.weight", 3, model)[0]
    return shape_of(state, "asp.tdnn.conv.conv.weight", 3, model)[1] == 3 * pooled


def _resnet(source: Path, state: dict[str, Tensor], settings: dict[str, Any]) -> Imported:
    model = "ResNet of SpeechBrain"
    sizes = stage_sizes(state, model) | {
        "strides": part(settings, "embedding_model").get("strides", [1, 2, 2, 2]),
        "se_stages": sum(f"layer{stage}.0.se.fc.0.weight" in state for stage in range(1, 5)),
        "embed_dim": shape_of(state, "fc_embed.weight", 2, model)[0],
    }
    overrides = [
        "model=resnet34_speechbrain",
        *(override(f"model.encoder.{name}", size) for name, size in sizes.items()),
        override("pooling.bottleneck", shape_of(state, "attention.0.weight", 3, model)[0]),
    ]
    weights, origins = renamed(state, RESNET_RULES)
    # Their planes are (frames, mels), ours (mels, frames).
    weights = {name: tensor.transpose(2, 3) if tensor.ndim == 4 else tensor for name, tensor in weights.items()}
    weights, origins = (in_encoder(flat_blocks(found, sizes["depths"], "blocks")) for found in (weights, origins))
    return Imported(source, f"a {model}", "speechbrain_resnet34", overrides, weights, origins)


def _settings(path: Path) -> dict[str, Any]:
    """The settings of a pretrained model, whose front end is that of this program."""
    settings = read_settings(path)
    check_settings(path, "compute_features", part(settings, "compute_features"), FRONT_END)
    normalisation = part(settings, "mean_var_norm")
    check_settings(path, "mean_var_norm", {"norm_type": "global", "std_norm": True} | normalisation, NORMALISATION)
    return settings


def _mels(state: dict[str, Tensor]) -> int:
    """Both networks' input: that of the ResNet by how many of its dimensions are pooled, eight to one."""
    if "blocks.0.conv.conv.weight" in state:
        return state["blocks.0.conv.conv.weight"].shape[1]
    channels = shape_of(state, "layer4.0.conv1.weight", 4, "ResNet of SpeechBrain")[0]
    return 8 * (shape_of(state, "attention.0.weight", 3, "ResNet of SpeechBrain")[1] // channels)


def _dilations(settings: dict[str, Any], inner: int) -> list[int]:
    """Of the blocks between the first layer and the aggregation."""
    given = part(settings, "embedding_model").get("dilations")
    if isinstance(given, list) and len(given) == inner + 2:
        return given[1:-1]
    return list(range(2, inner + 2))


def _add_classifier(imported: Imported, folder: Path) -> None:
    """The training speakers and what names them, if both files are there and agree."""
    if (folder / MEAN_OF_EMBEDDINGS).is_file():
        imported.left_out.append(f"{MEAN_OF_EMBEDDINGS}: SpeechBrain's verification does not use it, either")
    if not (folder / CLASSIFIER).is_file():
        return
    if not (folder / LABELS).is_file():
        imported.left_out.append(f"{CLASSIFIER}: there is no {LABELS} to name its speakers")
        return
    weight = read_tensors(folder / CLASSIFIER)
    speakers = read_labels(folder / LABELS)
    if list(weight) != ["weight"] or weight["weight"].ndim != 2 or len(weight["weight"]) != len(speakers):
        imported.left_out.append(f"{CLASSIFIER}: it is no cosine classifier of the {len(speakers):,} names in {LABELS}")
        return
    imported.speakers, imported.classifier = speakers, weight["weight"].to(torch.float32)


def read_labels(path: Path) -> list[str]:
    """The names of a label encoder's file, lines `'name' => index`, by index.

    Raises:
        InputError: unless the indices count from 0 and each name stands there once.
    """
    found: dict[int, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("===="):  # what follows is about the encoder itself
            break
        name, _, index = line.rpartition(" => ")
        try:
            label = ast.literal_eval(name)
            found[int(index)] = str(label)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: this is no `'name' => index`: {line[:80]}") from error
    if sorted(found) != list(range(len(found))) or len(set(found.values())) != len(found) or not found:
        raise InputError(f"{path}: indices must count from 0, and names be different")
    return [found[index] for index in range(len(found))]
