"""Weights of WavLM and wav2vec 2.0 in torchaudio's names, from the files in which people have them.

Three families of names: torchaudio's own; HuggingFace's (`pytorch_model.bin`, `model.safetensors`); fairseq's, which
Microsoft's WavLM files have too. What a file holds besides the front end, such as the heads of its pre-training, is
left out. This project's checkpoints have torchaudio's names, so that the front end of one run can start another.
"""

import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

PARTS = ("feature_extractor.", "encoder.")  # of torchaudio's model, but for its head
FAIRSEQ, HUGGINGFACE, TORCHAUDIO = "fairseq", "HuggingFace", "torchaudio"
# How the name of the weight that every file has ends; the names before it are a prefix of all. The first that fits
# counts: torchaudio's is also HuggingFace's with a prefix.
MARKS = {
    TORCHAUDIO: "encoder.feature_projection.projection.weight",
    HUGGINGFACE: "feature_projection.projection.weight",
    FAIRSEQ: "post_extract_proj.weight",
}
LAYER = r"^encoder\.layers\.(\d+)\."
OUR_LAYER = r"encoder.transformer.layers.\1."
RULES = {  # beginnings of names, the first that fits counts
    TORCHAUDIO: (),
    HUGGINGFACE: (
        (r"^feature_projection\.", "encoder.feature_projection."),
        (r"^encoder\.", "encoder.transformer."),
    ),
    FAIRSEQ: (
        (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
        (r"^feature_extractor\.conv_layers\.(\d+)\.2\.(1\.)?", r"feature_extractor.conv_layers.\1.layer_norm."),
        (r"^layer_norm\.", "encoder.feature_projection.layer_norm."),
        (r"^post_extract_proj\.", "encoder.feature_projection.projection."),
        (r"^encoder\.pos_conv\.0\.", "encoder.transformer.pos_conv_embed.conv."),
        (r"^encoder\.layer_norm\.", "encoder.transformer.layer_norm."),
        (LAYER + r"self_attn\.grep_a$", OUR_LAYER + "attention.gru_rel_pos_const"),
        (LAYER + r"self_attn\.grep_linear\.", OUR_LAYER + "attention.gru_rel_pos_linear."),
        (LAYER + r"self_attn\.relative_attention_bias\.", OUR_LAYER + "attention.rel_attn_embed."),
        (LAYER + r"self_attn\.", OUR_LAYER + "attention."),
        (LAYER + r"self_attn_layer_norm\.", OUR_LAYER + "layer_norm."),
        (LAYER + r"fc1\.", OUR_LAYER + "feed_forward.intermediate_dense."),
        (LAYER + r"fc2\.", OUR_LAYER + "feed_forward.output_dense."),
        (LAYER + r"final_layer_norm\.", OUR_LAYER + "final_layer_norm."),
    ),
}


def load_weights(model: nn.Module, path: str) -> str:
    """Copy a file's weights into torchaudio's model; nothing is copied into one on the `meta` device.

    Args:
        model: `torchaudio.models.Wav2Vec2Model`, WavLM's too.
        path: of a state dict as torch saves it, bare or under "model" or "state_dict", or of safetensors.

    Returns:
        whose names the file has: "torchaudio", "HuggingFace" or "fairseq".

    Raises:
        ValueError: if there is no such file, or it can't be read, or its weights do not fit.
    """
    state, source = in_torchaudio_names(read_tensors(path), path)
    wanted = model.state_dict()
    if source != TORCHAUDIO and any(".attention.attention." in name for name in wanted):
        state = _with_joint_projections(state)
    missing = [name for name in wanted if name not in state]
    other = [name for name, tensor in wanted.items() if name in state and state[name].shape != tensor.shape]
    further = [name for name in state if name not in wanted]
    advice = "choose the model that the file is of"
    if other:
        shapes = f"{list(state[other[0]].shape)} and not {list(wanted[other[0]].shape)}"
        raise ValueError(f"weights={path} do not fit: {other[0]} is {shapes}; {advice}")
    for names, fault in ((missing, "lack"), (further, "have, besides what fits,")):
        if names:
            more = f" and {len(names) - 1} more" if names[1:] else ""
            raise ValueError(f"weights={path} do not fit: they {fault} {names[0]}{more}; {advice}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(state[name])
    return source


def read_tensors(path: str) -> dict[str, Tensor]:
    """The tensors in a file, on the CPU; foreign code can't run.

    Raises:
        ValueError: if there is no such file, or it can't be read as one of tensors.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"weights={path}: there is no such file")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            contents = load_file(file)
        else:
            contents = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # torch and safetensors raise half a dozen kinds, with advice that is not for users
        raise ValueError(
            f"weights={path} can't be read: damaged, or no plain state dict; torchaudio's and HuggingFace's files are"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(contents, dict) and isinstance(contents.get(key), dict):
            contents = contents[key]
    tensors = contents.items() if isinstance(contents, dict) else ()
    return {name: tensor for name, tensor in tensors if isinstance(name, str) and isinstance(tensor, Tensor)}


def in_torchaudio_names(state: dict[str, Tensor], path: str) -> tuple[dict[str, Tensor], str]:
    """The front end's weights alone, and whose names they had.

    Raises:
        ValueError: if none of the three families of names is there.
    """
    found = [(source, name) for source, mark in MARKS.items() for name in state if name.endswith(mark)]
    if not found:
        raise ValueError(f"weights={path} are of neither wav2vec 2.0 nor WavLM: there is no projection of features")
    source, name = found[0]
    prefix = name.removesuffix(MARKS[source])
    renamed = {
        _renamed(name.removeprefix(prefix), source): tensor for name, tensor in state.items() if name.startswith(prefix)
    }
    return {name: tensor for name, tensor in renamed.items() if name.startswith(PARTS)}, source


def _renamed(name: str, source: str) -> str:
    for beginning, ours in RULES[source]:
        changed, count = re.subn(beginning, ours, name)
        if count:
            name = changed
            break
    # Of the weight norm over the positional convolution, before torch had parametrizations.
    name = name.replace("pos_conv_embed.conv.weight_g", "pos_conv_embed.conv.parametrizations.weight.original0")
    return name.replace("pos_conv_embed.conv.weight_v", "pos_conv_embed.conv.parametrizations.weight.original1")


def _with_joint_projections(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Queries', keys' and values' projections as the one that torchaudio's WavLM has for all three."""
    joint = {}
    for name, tensor in state.items():
        layer, _, rest = name.rpartition(".attention.")
        part, _, kind = rest.rpartition("_proj.")
        if part == "q":
            three = [state[key] for key in (f"{layer}.attention.{part}_proj.{kind}" for part in "qkv") if key in state]
            joint[f"{layer}.attention.attention.in_proj_{kind}"] = torch.cat(three)
        elif part == "out":
            joint[f"{layer}.attention.attention.out_proj.{kind}"] = tensor
        elif part not in ("k", "v"):
            joint[name] = tensor
    return joint
