"""Features of made-up utterances, padded; networks whose batch norms have seen data."""

import torch
from torch import Tensor, nn


def calibrated(encoder: nn.Module, batch: Tensor) -> nn.Module:
    """In evaluation mode, with batch norms that have seen the batch (fresh ones would be the identity)."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the statistics become those of the batches seen, in full
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        encoder.train()(batch)
    return encoder.eval()


def utterances(*shapes: tuple[int, ...]) -> list[Tensor]:
    """Noise of these shapes, neither centred nor of unit variance."""
    generator = torch.Generator().manual_seed(1)
    return [2.0 * torch.randn(shape, generator=generator) + 0.5 for shape in shapes]


def padded(items: list[Tensor], frames: int, fill: float, axis: int = 0) -> Tensor:
    """One batch of them all, `frames` long along an item's `axis`, `fill` beyond its end."""
    shape = list(items[0].shape)
    shape[axis] = frames
    batch = torch.full((len(items), *shape), fill)
    for row, item in zip(batch, items, strict=True):
        row.narrow(axis, 0, item.shape[axis]).copy_(item)
    return batch
