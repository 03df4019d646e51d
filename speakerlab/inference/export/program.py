"""A `torch.export` program: the whole path as a graph that torch loads without this package."""

import io
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.export import Dim

from speakerlab import InputError
from speakerlab.inference.card import METADATA_KEY, ModelCard
from speakerlab.inference.export.drift import Embed
from speakerlab.inference.export.onnx import WholePath, example, failure, quiet


def write_program(network: nn.Module, card: ModelCard, path: Path) -> None:
    """Trace, and write with the card as an extra file of the archive.

    Args:
        network: on the CPU; put into evaluation mode.
        card: of it.
        path: to write to, straight.

    Raises:
        InputError: if torch can't trace the network.
    """
    dynamic = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(WholePath(network), (example(card.sample_rate),), dynamic_shapes=dynamic)
    except Exception as error:  # of half a dozen kinds, most of them torch's private ones
        raise InputError(failure(network, "as a program of torch.export", error)) from error
    for module in program.graph_module.modules():  # what runs without autocast is a graph of its own
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # quotes sources and their places
    archive = io.BytesIO()  # torch complains of a file, such as a draft, that does not end in .pt2
    torch.export.save(program, archive, extra_files={f"{METADATA_KEY}.json": card.to_json()})
    path.write_bytes(archive.getbuffer())


def load_program(path: Path) -> Embed:
    """The program, on each waveform alone. Torch unpickles parts of such files: load none of a stranger's."""
    with quiet():
        module = torch.export.load(io.BytesIO(path.read_bytes())).module()

    @torch.inference_mode()
    def embed(waveforms: list[np.ndarray]) -> np.ndarray:
        return torch.cat([module(torch.from_numpy(waveform)[None]) for waveform in waveforms]).numpy()

    return embed
