"""ONNX files by hand: whole ones and crafted ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from speakerlab.inference.card import METADATA_KEY, ModelCard

CARD = ModelCard(
    name="by hand",
    sample_rate=16000,
    embed_dim=2,
    encoder="Mean",
    parameters=0,
    run="nowhere",
    speakers=2,
    trained_on="nothing",
    metrics={},
    threshold=None,
    threshold_from="nobody measured",
    calibration=None,
    fingerprint="0" * 64,
)


def mean_and_square() -> list[NodeProto]:
    """The embedding is the mean and the mean square of the waveform."""
    return [
        helper.make_node("Mul", ["waveform", "waveform"], ["square"]),
        helper.make_node("ReduceMean", ["waveform", "last"], ["mean"], keepdims=1),
        helper.make_node("ReduceMean", ["square", "last"], ["power"], keepdims=1),
        helper.make_node("Concat", ["mean", "power"], ["embedding"], axis=1),
    ]


def make_model(
    nodes: list[NodeProto] | None = None,
    constants: dict[str, np.ndarray] | None = None,
    domains: tuple[str, ...] = ("",),
    card: str | None = "",
    ends: tuple[str, str] = ("waveform", "embedding"),
) -> ModelProto:
    """A model of these nodes; without any, of `mean_and_square`.

    Args:
        nodes: of the graph.
        constants: its initializers, beside `last`, the number of the waveform's last axis.
        domains: of operators.
        card: in the metadata; "" is `CARD`, None is no card.
        ends: names of the input and the output.
    """
    tensors = {"last": np.array([1], np.int64), **(constants or {})}
    graph = helper.make_graph(
        nodes or mean_and_square(),
        "by_hand",
        [helper.make_tensor_value_info(ends[0], TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info(ends[1], TensorProto.FLOAT, ["batch", CARD.embed_dim])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    opsets = [helper.make_opsetid(domain, 1 if domain else 20) for domain in domains]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    if card is not None:
        model.metadata_props.add(key=METADATA_KEY, value=card or CARD.to_json())
    return model


def write_model(path: Path, *args, embed_dim: int = CARD.embed_dim, **settings) -> Path:
    """`make_model` as a file; its card says that embeddings have so many values."""
    if embed_dim != CARD.embed_dim:
        settings["card"] = replace(CARD, embed_dim=embed_dim).to_json()
    path.write_bytes(make_model(*args, **settings).SerializeToString())
    return path
