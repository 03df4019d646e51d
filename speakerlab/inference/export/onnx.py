"""ONNX of the whole path: a waveform in, its embedding out."""

import ast
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from speakerlab import InputError
from speakerlab.inference.card import METADATA_KEY, ModelCard
from speakerlab.inference.engines.onnx import EMBEDDING, SHORTEST, WAVEFORM
from speakerlab.inference.engines.onnx_file import LARGEST
from speakerlab.inference.export.drift import Embed, largest_difference
from speakerlab.inference.export.specimens import Specimens

if TYPE_CHECKING:
    import onnx_ir
    from onnx import ModelProto

TOLERANCE = 1e-4  # of an embedding's length
EXAMPLES = 2, 1.03  # waveforms and seconds that a graph is traced with: neither size may be taken for a constant
CHECKED = 8  # recordings that the check compares, besides two that run together
MISSING = "it needs onnx, onnxscript and onnxruntime: pip install 'speakerlab[export]'"


class WholePath(nn.Module):
    """`(batch, samples) -> (batch, embed_dim)`; nothing is padded, so that there are no lengths."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.eval()

    def forward(self, waveform: Tensor) -> Tensor:
        return self.network(waveform)


def to_onnx(network: nn.Module, sample_rate: int) -> tuple["ModelProto", int]:
    """The graph, and how many samples it needs at least.

    Nodes are called by the part of the network that they come from, such as `encoder.pooling/Softmax_7`.

    Args:
        network: on the CPU; put into evaluation mode.
        sample_rate: in hertz.

    Raises:
        InputError: if an operation of it has no equal in ONNX, or the libraries are missing.
    """
    path, waveforms = WholePath(network), example(sample_rate)
    try:
        with quiet():
            program = torch.onnx.export(
                path,
                (waveforms,),
                dynamo=True,
                dynamic_shapes=({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},),
                input_names=[WAVEFORM],
                output_names=[EMBEDDING],
                verbose=False,
            )
    except ImportError as error:
        raise InputError(MISSING) from error
    except Exception as error:  # of half a dozen kinds, most of them torch's private ones
        raise InputError(failure(network, "to ONNX", error)) from error
    tidy(program.model)
    model = program.model_proto
    for value, axes in ((model.graph.input[0], ("batch", "samples")), (model.graph.output[0], ("batch", None))):
        for dimension, name in zip(value.type.tensor_type.shape.dim, axes, strict=True):
            if name is not None:
                dimension.dim_param = name
    return model, max(shortest(network, sample_rate), _least(program.exported_program))


def write_onnx(model: "ModelProto", card: ModelCard, least: int, path: Path) -> None:
    """One file, with the card in it.

    Args:
        model: as `to_onnx` gives it.
        card: of the network.
        least: samples that the graph needs.
        path: to write to, straight.

    Raises:
        InputError: if it is larger than an ONNX file may be.
    """
    del model.metadata_props[:]
    for key, value in {METADATA_KEY: card.to_json(), SHORTEST: str(least)}.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name = "speakerlab"
    if model.ByteSize() >= LARGEST:
        raise InputError(
            f"the network has {model.ByteSize() / 1e9:.1f} GB, and an ONNX file at most 2: use --to folder"
        )
    path.write_bytes(model.SerializeToString())


def check(found: Embed, network: nn.Module, specimens: Specimens, least: int = 1) -> float:
    """The largest difference between an export's embeddings and the network's, over some recordings one by one and over
    two that run together.

    Raises:
        InputError: if it is more than `TOLERANCE`.
    """
    waveforms = specimens.waveforms[:CHECKED]
    shorter = max(min(len(waveform) for waveform in waveforms[:2]) // 2, least)
    pair = [np.resize(waveform, shorter) for waveform in (waveforms[0], waveforms[-1])]
    expected = embed_one_by_one(network)([*waveforms, *pair])
    difference = largest_difference(found([*waveforms, *pair]), expected)
    if not difference <= TOLERANCE:  # written so, NaN is refused too
        raise InputError(
            f"nothing is written: on {specimens.origin} the export's embeddings differ from PyTorch's by "
            f"{difference:.2g} of their length, which is more than {TOLERANCE:g}"
        )
    return difference


def embed_one_by_one(network: nn.Module) -> Embed:
    """What an export must equal: the network on the CPU, in float32, on each waveform alone."""

    @torch.inference_mode()
    def embed(waveforms: list[np.ndarray]) -> np.ndarray:
        return torch.cat([network(torch.from_numpy(waveform)[None]) for waveform in waveforms]).numpy()

    return embed


@torch.inference_mode()
def shortest(network: nn.Module, sample_rate: int) -> int:
    """The fewest samples that the network takes, as far as a second is enough."""
    generator = torch.Generator().manual_seed(0)
    sound = 0.1 * torch.randn(1, sample_rate, generator=generator)
    too_few, enough = 0, sample_rate
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        try:
            network(sound[:, :middle])
            enough = middle
        except (ValueError, RuntimeError, IndexError):  # what layers say of an empty axis
            too_few = middle
    return enough


def example(sample_rate: int) -> Tensor:
    """Waveforms to trace a network with, `(batch, samples)`."""
    waveforms, seconds = EXAMPLES
    return 0.1 * torch.randn(waveforms, round(seconds * sample_rate), generator=torch.Generator().manual_seed(0))


def _least(program: torch.export.ExportedProgram) -> int:
    """The fewest samples for which torch found the traced graph to be right."""
    waveform = next(node for node in program.graph.nodes if node.op == "placeholder" and node.target == WAVEFORM)
    size = waveform.meta["val"].shape[1]
    bounds = program.range_constraints.get(size.node.expr) if isinstance(size, torch.SymInt) else None
    if bounds is None:
        raise InputError("the network's graph takes waveforms of one length alone, and can't be exported")
    return int(bounds.lower)


def tidy(model: "onnx_ir.Model") -> None:
    """Give nodes the names of their parts, and drop what else torch says of them, which quotes sources."""
    model.graph.metadata_props.clear()
    for number, node in enumerate(model.graph):
        scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        part = scopes[-2] if len(scopes) > 1 and not scopes[-2].startswith("_") else ""  # sizes are of no part
        node.name = f"{part.removeprefix('network').removeprefix('.')}/{node.op_type}_{number}"
        node.doc_string = None
        node.metadata_props.clear()
        for value in node.outputs:
            if value.name in (WAVEFORM, EMBEDDING) and not value.is_graph_output():  # of a layer called so, in WavLM
                value.name = f"{node.name}/{value.name}"
        for value in (*node.inputs, *node.outputs):
            if value is not None:
                value.metadata_props.clear()
                value.doc_string = None
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None


@contextmanager
def quiet() -> Iterator[None]:
    """Torch's exporter tells its developers much that users can't act on."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def failure(network: nn.Module, target: str, error: BaseException) -> str:
    """A line that names the network and the innermost reason."""
    names = " and ".join(type(branch.encoder).__name__ for branch in network.branches.values())
    while error.__cause__ is not None:
        error = error.__cause__
    reason = re.sub(r"Load model from .* failed: *", "", " ".join(str(error).split()))  # a draft's path tells nothing
    return f"{names} can't be exported {target} ({type(error).__name__}: {reason[:200]})"
