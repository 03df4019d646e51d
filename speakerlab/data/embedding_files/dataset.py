"""Saved embeddings as training items, and in batches to be judged by."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from speakerlab.data.batches import Key
from speakerlab.data.embedding_files.branches import Branches

AT_ONCE = 4096  # utterances


class BranchDataset(Dataset):
    """What several networks gave for each training utterance, in memory.

    It is asked for a batch at a time, a list of `(epoch, position, item)`, and gives `{"embeddings": [(batch, dim) of
    each network], "speaker": (batch,) int64, "utterance": (batch,) int64, "faults": []}`.

    Args:
        branches: the embeddings.
        rows: `(utterances,)` where in them the training utterances are.
        classes: `(utterances,)` speaker of each.
    """

    def __init__(self, branches: Branches, rows: np.ndarray, classes: np.ndarray):
        self.branches = branches
        self.rows = rows
        self.classes = classes

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, keys: Sequence[Key]) -> dict:
        items = np.array([item for _, _, item in keys])
        return {
            "embeddings": tensors(self.branches, self.rows[items]),
            "speaker": torch.from_numpy(self.classes[items]),
            "utterance": torch.from_numpy(items),
            "faults": [],
        }


def as_it_is(batch: dict) -> dict:
    """In place of a function that collates items."""
    return batch


def batches_of(branches: Branches, rows: np.ndarray, rank: int = 0, world_size: int = 1) -> Iterator[dict]:
    """`{"embeddings": [(batch, dim) of each network], "utterance": (batch,)}`, each utterance once: its number is its
    place in `rows` `(utterances,)`. A process takes every `world_size`-th utterance."""
    mine = np.arange(len(rows))[rank::world_size]
    for first in range(0, len(mine), AT_ONCE):
        part = mine[first : first + AT_ONCE]
        yield {"embeddings": tensors(branches, rows[part]), "utterance": torch.from_numpy(part)}


def tensors(branches: Branches, rows: np.ndarray) -> list[Tensor]:
    """`(rows, dim)` of each network."""
    return [torch.from_numpy(taken) for taken in branches.take(rows)]
