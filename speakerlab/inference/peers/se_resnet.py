"""The ResNet with gates of voxceleb_trainer, which SpeechBrain took over: what both call alike."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from speakerlab.inference.peers.imported import Rules, blocks_of_layers, shape_of

BLOCK_RULES: Rules = (
    (r"^(layer\d\.\d+)\.bn(\d)\.", r"\1.norm\2."),
    (r"^(layer\d\.\d+)\.se\.fc\.0\.", r"\1.gate.squeeze."),
    (r"^(layer\d\.\d+)\.se\.fc\.2\.", r"\1.gate.excite."),
    (r"^(layer\d\.\d+)\.downsample\.0\.", r"\1.shortcut.conv."),
    (r"^(layer\d\.\d+)\.downsample\.1\.", r"\1.shortcut.norm."),
)
ATTENTION_RULES: Rules = (
    (r"^attention\.0\.", "pooling.frame_projection."),
    (r"^attention\.2\.", "pooling.norm."),
    (r"^attention\.3\.", "pooling.score."),
)


def stage_sizes(state: Mapping[str, Tensor], model: str) -> dict[str, Any]:
    """`depths`, `widths` and `se_reduction` as the shapes show them.

    Args:
        state: a peer's tensors by its names.
        model: what it is, for messages.

    Raises:
        InputError: if it has other stages.
    """
    depths = blocks_of_layers(state, model)
    widths = [shape_of(state, f"layer{stage}.0.conv1.weight", 4, model)[0] for stage in range(1, 5)]
    gate = "layer1.0.se.fc.0.weight"
    squeezed = shape_of(state, gate, 2, model)[0] if gate in state else widths[0]
    return {"depths": depths, "widths": widths, "se_reduction": max(widths[0] // max(squeezed, 1), 1)}
