"""WeSpeaker's ECAPA-TDNN and ResNets: `avg_model.pt` or `final_model.pt`, with or without the training's projection.

A pretrained model's folder also holds `config.yaml`, whose front end is compared with the one here.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speakerlab import InputError
from speakerlab.inference.peers.imported import (
    Imported,
    Rules,
    blocks_of_layers,
    file_in,
    flat_blocks,
    in_encoder,
    override,
    read_tensors,
    renamed,
    shape_of,
    shape_words,
    split_context,
)
from speakerlab.inference.peers.settings import check_settings, part, read_settings

WEIGHTS, SETTINGS = ("avg_model.pt", "final_model.pt", "model.pt"), "config.yaml"
PROJECTION = "projection."  # the classifier of training, whose speakers are not named
SCALE = 8  # groups of the Res2 convolutions

POOLING_RULES: Rules = (
    (r"^pool\.linear1\.", "pooling.frame_projection."),
    (r"^pool\.linear2\.", "pooling.score."),
)
ECAPA_RULES: Rules = (
    *POOLING_RULES,
    (r"^layer1\.conv\.", "stem.conv."),
    (r"^layer1\.bn\.", "stem.norm."),
    (r"^(layer\d)\.se_res2block\.0\.", r"\1.expand."),
    (r"^(layer\d)\.se_res2block\.1\.convs\.(\d+)\.", r"\1.res2.layers.\2.conv."),
    (r"^(layer\d)\.se_res2block\.1\.bns\.(\d+)\.", r"\1.res2.layers.\2.norm."),
    (r"^(layer\d)\.se_res2block\.2\.", r"\1.merge."),
    (r"^(layer\d)\.se_res2block\.3\.linear1\.", r"\1.se.squeeze."),
    (r"^(layer\d)\.se_res2block\.3\.linear2\.", r"\1.se.excite."),
    (r"^(layer\d\.(?:expand|merge))\.bn\.", r"\1.norm."),
    (r"^layer2\.", "blocks.0."),
    (r"^layer3\.", "blocks.1."),
    (r"^layer4\.", "blocks.2."),
    (r"^conv\.", "aggregate.conv."),
    (r"^bn\.", "pooling_norm."),
    (r"^linear\.", "project."),
    (r"^bn2\.", "embedding_norm."),
)
RESNET_RULES: Rules = (
    *POOLING_RULES,
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"^(layer\d\.\d+)\.conv(\d)\.", r"\1.conv\2.conv."),
    (r"^(layer\d\.\d+)\.bn(\d)\.", r"\1.conv\2.norm."),
    (r"^(layer\d\.\d+)\.shortcut\.0\.", r"\1.shortcut.conv."),
    (r"^(layer\d\.\d+)\.shortcut\.1\.", r"\1.shortcut.norm."),
    (r"^seg_1\.", "project."),
)


def read(path: Path) -> Imported:
    """What is in a file of weights, or in a folder that holds `avg_model.pt` or `final_model.pt`.

    Raises:
        InputError: if it can't be read, is neither of the two kinds of network, or has another front end.
    """
    source = file_in(path, WEIGHTS)
    everything = {name.removeprefix("module."): tensor for name, tensor in read_tensors(source).items()}
    state = {name: tensor for name, tensor in everything.items() if not name.startswith(PROJECTION)}
    if "layer1.conv.weight" in state:
        imported = _ecapa(source, state)
    elif "seg_1.weight" in state and "layer1.0.conv1.weight" in state:
        imported = _resnet(source, state)
    else:
        raise InputError(
            f"{source} is neither an ECAPA-TDNN nor a ResNet of WeSpeaker: it begins with {next(iter(everything))}"
        )
    imported.overrides += ["features=fbank_hamming", "norm=mean"]
    if path.is_dir() and (path / SETTINGS).is_file():
        _check_front_end(path / SETTINGS)
    else:
        imported.notes.append(f"no {SETTINGS} was read: 16 kHz and the features of WeSpeaker's recipes are assumed")
    imported.left_out += [
        f"{name} {shape_words(tensor)}: of training, whose speakers are not named"
        for name, tensor in everything.items()
        if name.startswith(PROJECTION) and tensor.ndim == 2
    ]
    return imported


def _ecapa(source: Path, state: dict[str, Tensor]) -> Imported:
    model = "ECAPA-TDNN of WeSpeaker"
    channels, mels, _ = shape_of(state, "layer1.conv.weight", 3, model)
    sizes = {
        "channels": channels,
        "pooled_channels": shape_of(state, "conv.weight", 3, model)[0],
        "embed_dim": shape_of(state, "linear.weight", 2, model)[0],
        "se_bottleneck": shape_of(state, "layer2.se_res2block.3.linear1.weight", 2, model)[0],
        "final_norm": "bn2.weight" in state,
    }
    bottleneck, seen, _ = shape_of(state, "pool.linear1.weight", 3, model)
    context = seen == 3 * sizes["pooled_channels"]
    overrides = [
        "model=ecapa_wespeaker",
        *(override(f"model.encoder.{name}", size) for name, size in sizes.items()),
        override("pooling.bottleneck", bottleneck),
        override("pooling.global_context", context),
        override("features.num_mels", mels),
    ]
    weights, origins = renamed(state, ECAPA_RULES)
    weights = {name: _rolled(name, tensor, channels // SCALE) for name, tensor in weights.items()}
    if context:
        split_context(weights, origins)
    return Imported(source, f"an {model}", "wespeaker_ecapa", overrides, in_encoder(weights), in_encoder(origins))


def _rolled(name: str, tensor: Tensor, width: int) -> Tensor:
    """In a Res2 convolution there the last group of channels passes through, here the first: what is before and behind
    it has its groups in another order."""
    if re.match(r"blocks\.\d\.expand\.", name) and tensor.ndim:
        return torch.roll(tensor, width, dims=0)
    return torch.roll(tensor, width, dims=1) if re.match(r"blocks\.\d\.merge\.conv\.weight", name) else tensor


def _resnet(source: Path, state: dict[str, Tensor]) -> Imported:
    model = "ResNet of WeSpeaker"
    depths = blocks_of_layers(state, model)
    width = shape_of(state, "conv1.weight", 4, model)[0]
    bottleneck = "layer1.0.conv3.weight" in state
    embed_dim, pooled = shape_of(state, "seg_1.weight", 2, model)
    channels = 8 * width * (4 if bottleneck else 1)
    sizes = {
        "block": "bottleneck" if bottleneck else "basic",
        "depths": depths,
        "width": width,
        "embed_dim": embed_dim,
    }
    overrides = ["model=resnet34", *(override(f"model.encoder.{name}", size) for name, size in sizes.items())]
    if "pool.linear1.weight" in state:
        hidden, seen, _ = shape_of(state, "pool.linear1.weight", 3, model)
        overrides += ["pooling=attentive_statistics_tanh", override("pooling.bottleneck", hidden)]
        overrides.append(override("pooling.global_context", seen == 3 * pooled // 2))
    else:
        overrides += ["pooling=statistics", "pooling.unbiased=true"]
    overrides.append(override("features.num_mels", 8 * (pooled // (2 * channels))))
    weights, origins = renamed(state, RESNET_RULES)
    if "pool.linear1.weight" in state and seen == 3 * pooled // 2:
        split_context(weights, origins)
    weights, origins = (in_encoder(flat_blocks(found, depths, "stages.blocks")) for found in (weights, origins))
    words = f"resnet{_layers(depths, bottleneck)}"
    return Imported(source, f"a {model}", f"wespeaker_{words}", overrides, weights, origins)


def _layers(depths: list[int], bottleneck: bool) -> int:
    """The number in a ResNet's name: its layers with weights, but for shortcuts.

    >>> _layers([3, 4, 6, 3], False), _layers([10, 20, 64, 3], True)
    (34, 293)
    """
    return sum(depths) * (3 if bottleneck else 2) + 2


def _check_front_end(path: Path) -> None:
    settings: dict[str, Any] = read_settings(path)
    data = part(settings, "dataset_args")
    check_settings(path, "dataset_args", data, {"resample_rate": (16000,), "frontend": ("fbank",), "cmvn": (True,)})
    frames = {"frame_length": (25,), "frame_shift": (10,)}
    check_settings(path, "dataset_args.fbank_args", part(data, "fbank_args"), frames)
    check_settings(
        path, "dataset_args.cmvn_args", part(data, "cmvn_args"), {"norm_mean": (True,), "norm_var": (False,)}
    )
