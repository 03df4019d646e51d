"""What runs a model: an engine has its card and turns waveforms into embeddings. Each imports its library alone."""

from pathlib import Path
from typing import Protocol

import numpy as np

from speakerlab import InputError
from speakerlab.inference.card import ModelCard


class Engine(Protocol):
    """A model that is ready.

    Attributes:
        card: what goes with it.
    """

    card: ModelCard

    def __call__(self, waveforms: list[np.ndarray]) -> np.ndarray:
        """Embed a batch.

        Args:
            waveforms: each `(samples,)` float32 in [-1, 1], mono, at `card.sample_rate`.

        Returns:
            `(waveforms, embed_dim)` float32, each row that of the waveform alone.

        Raises:
            InputError: if one of them is too short for the model.
        """
        ...


def load_engine(
    path: str | Path, device: str = "auto", trust: tuple[str, ...] = (), precision: str = "float32"
) -> Engine:
    """The engine for what a path is: an ONNX file, or a checkpoint, a run's folder or an exported folder.

    Args:
        path: of the model.
        device: `auto`, `cpu`, `cuda`, `cuda:1` ...
        trust: classes that a checkpoint may name besides this project's own.
        precision: `float32`, or `bf16` for PyTorch to multiply in; an ONNX file has its own.

    Raises:
        InputError: if it is none of these, damaged, or the device is not here.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".pt2":
        raise InputError(f"{path}: is a program for torch.export.load; here give the checkpoint or its ONNX export")
    if suffix == ".onnx":
        if precision != "float32":
            raise InputError(
                f"{path}: precision={precision} is for PyTorch; an ONNX file computes in what it was exported to "
                "(`speakerlab export --to fp16` or `int8`)"
            )
        from speakerlab.inference.engines.onnx import OnnxEngine

        return OnnxEngine(path, device)
    from speakerlab.inference.engines.torch import TorchEngine

    return TorchEngine(path, device, trust, precision)
