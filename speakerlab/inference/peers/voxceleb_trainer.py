"""voxceleb_trainer's ResNetSE34L (Fast ResNet-34) and ResNetSE34V2 (half ResNet-34): its `.model` files.

The window and the mel filters are in the file and are compared with those here. Whether the network was trained on
logarithms (`--log_input True`) is not; all published models were.
"""

from pathlib import Path

import torch
from torch import Tensor

from speakerlab import InputError
from speakerlab.features.voxceleb_trainer_mel import VoxcelebTrainerMel
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
)
from speakerlab.inference.peers.se_resnet import ATTENTION_RULES, BLOCK_RULES, stage_sizes

NETWORK, LOSS = "__S__.", "__L__."
FRONT_END = "torchfb."
PREEMPHASIS = 0.97  # of ResNetSE34V2
EPS = "1.0e-5"  # of torch's InstanceNorm1d

PROJECT_RULE = (r"^fc\.", "project.")
FAST_RULES: Rules = (
    *BLOCK_RULES,
    PROJECT_RULE,
    (r"^conv1\.", "stem.layer.conv."),
    (r"^bn1\.", "stem.layer.norm."),
    (r"^sap_linear\.", "pooling.hidden."),
    (r"^attention$", "pooling.score.weight"),
)
HALF_RULES: Rules = (
    *BLOCK_RULES,
    *ATTENTION_RULES,
    PROJECT_RULE,
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
)


def read(path: Path) -> Imported:
    """What is in a `.model` file.

    Raises:
        InputError: if it can't be read, is neither of the two networks, or has another front end.
    """
    source = file_in(path, [])
    everything = {name.removeprefix("module."): tensor for name, tensor in read_tensors(source).items()}
    own = {name: tensor for name, tensor in everything.items() if not name.startswith(LOSS)}
    state = {name.removeprefix(NETWORK): tensor for name, tensor in own.items()}
    front_end = {name: state.pop(name) for name in list(state) if name.startswith(FRONT_END)}
    if "sap_linear.weight" in state and "conv1.weight" in state:
        imported = _fast(source, state)
        mels = _mels(front_end, f"{FRONT_END}mel_scale.fb")
        check_front_end(front_end, mels, 0.0, FRONT_END)
    elif "attention.0.weight" in state and "conv1.weight" in state:
        imported = _half(source, state)
        mels = _mels(front_end, f"{FRONT_END}1.mel_scale.fb")
        check_front_end(front_end, mels, PREEMPHASIS, f"{FRONT_END}1.")
    else:
        raise InputError(
            f"{source} is neither a ResNetSE34L nor a ResNetSE34V2 of voxceleb_trainer: it begins with "
            f"{next(iter(everything))}"
        )
    imported.overrides += [override("features.num_mels", mels), "norm=mean_variance", f"norm.eps={EPS}"]
    imported.notes.append("taken to be trained with --log_input True, which the file does not say")
    lost = sorted(name for name in everything if name.startswith(LOSS))
    if lost:
        imported.left_out.append(f"{', '.join(lost)}: of the training's loss")
    return imported


def _fast(source: Path, state: dict[str, Tensor]) -> Imported:
    model = "ResNetSE34L of voxceleb_trainer"
    hidden, channels = shape_of(state, "sap_linear.weight", 2, model)
    overrides, depths = _stages(state, model, "fast_resnet34")
    pooled = shape_of(state, "fc.weight", 2, model)[1]
    overrides += [
        override("pooling.bottleneck", hidden),
        override("pooling.deviation", pooled == 2 * channels),
    ]
    shape_of(state, "attention", 2, model)
    weights, origins = renamed(state, FAST_RULES)
    score = "pooling.score.weight"
    weights["pooling.hidden.weight"] = weights["pooling.hidden.weight"].unsqueeze(-1)
    weights[score] = weights[score].T.unsqueeze(-1)  # (channels, 1) there
    # Theirs has none, and one would change nothing: the weights over time sum to one.
    weights["pooling.score.bias"] = torch.zeros(1)
    origins["pooling.score.bias"] = origins[score]
    weights, origins = (in_encoder(flat_blocks(found, depths, "blocks")) for found in (weights, origins))
    return Imported(source, f"a {model}", "voxceleb_trainer_fast_resnet34", overrides, weights, origins)


def _half(source: Path, state: dict[str, Tensor]) -> Imported:
    model = "ResNetSE34V2 of voxceleb_trainer"
    overrides, depths = _stages(state, model, "half_resnet34")
    overrides.append(override("pooling.bottleneck", shape_of(state, "attention.0.weight", 3, model)[0]))
    weights, origins = renamed(state, HALF_RULES)
    weights, origins = (in_encoder(flat_blocks(found, depths, "blocks")) for found in (weights, origins))
    return Imported(source, f"a {model}", "voxceleb_trainer_half_resnet34", overrides, weights, origins)


def _stages(state: dict[str, Tensor], model: str, member: str) -> tuple[list[str], list[int]]:
    """What the stages' shapes say of the network: overrides, and blocks a stage."""
    sizes = stage_sizes(state, model) | {"embed_dim": shape_of(state, "fc.weight", 2, model)[0]}
    overrides = [f"model={member}", *(override(f"model.encoder.{name}", size) for name, size in sizes.items())]
    return overrides, sizes["depths"]


def _mels(front_end: dict[str, Tensor], name: str) -> int:
    return shape_of(front_end, name, 2, "model of voxceleb_trainer")[1]


def check_front_end(found: dict[str, Tensor], mels: int, preemphasis: float, prefix: str) -> None:
    """Refuse a file whose front end is another one than ours.

    Args:
        found: its tensors by name.
        mels: bands.
        preemphasis: that it should have.
        prefix: of the spectrogram's tensors.

    Raises:
        InputError: naming the first tensor that differs.
    """
    try:
        ours = VoxcelebTrainerMel(mels, preemphasis)
    except ValueError as error:
        raise InputError(f"{prefix}mel_scale.fb: {error}") from error
    expected = {f"{prefix}mel_scale.fb": ours.filters, f"{prefix}spectrogram.window": torch.hamming_window(400)}
    if preemphasis:
        expected[f"{FRONT_END}0.flipped_filter"] = torch.tensor([[[-preemphasis, 1.0]]])
    for name, tensor in found.items():
        if name not in expected:
            raise InputError(f"{name} is no part of a front end that is known here")
        same = tensor.shape == expected[name].shape and torch.allclose(tensor.float(), expected[name], atol=1e-4)
        if not same:
            raise InputError(f"{name} is not that of 16 kHz, windows of 25 ms and {mels} mels: another front end")
