"""Batches for losses that classify, and cross entropy with loops over float64 cosines, written from the formulas."""

import math

import numpy as np
import torch
from torch import nn

DIM, SPEAKERS, BATCH = 12, 7, 30


def items(batch: int = BATCH, dim: int = DIM, speakers: int = SPEAKERS) -> tuple[torch.Tensor, torch.Tensor]:
    """`(batch, dim)` random embeddings of lengths around 10, and their speakers."""
    generator = torch.Generator().manual_seed(1)
    return 3.0 * torch.randn(batch, dim, generator=generator), torch.arange(batch) * 5 % speakers


def cosines(loss: nn.Module, embeddings: torch.Tensor) -> np.ndarray:
    """`(batch, speakers)` float64, by a loop over pairs; of several weight rows a speaker the nearest counts."""
    rows = loss.classifier.weight.detach().double().numpy()
    rows = rows.reshape(loss.classifier.num_speakers, loss.classifier.subcenters, -1)
    found = np.empty((len(embeddings), len(rows)))
    for i, x in enumerate(embeddings.detach().double().numpy()):
        for j, centers in enumerate(rows):
            found[i, j] = max(float(x @ w) / math.sqrt(float(x @ x) * float(w @ w)) for w in centers)
    return found


def cross_entropy(logits: list[list[float]], speakers: list[int]) -> float:
    """Mean over items of -ln of the speaker's share."""
    losses = []
    for row, speaker in zip(logits, speakers, strict=True):
        top = max(row)
        losses.append(top + math.log(sum(math.exp(term - top) for term in row)) - row[speaker])
    return sum(losses) / len(losses)


def value_and_gradients(loss: nn.Module, embeddings: torch.Tensor, speakers: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The loss, and its gradients for the embeddings and the classifier's rows."""
    embeddings = embeddings.clone().requires_grad_()
    value, _ = loss(embeddings, speakers)
    return value, *torch.autograd.grad(value, [embeddings, loss.classifier.weight])
