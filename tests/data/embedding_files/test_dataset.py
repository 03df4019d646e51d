"""Saved embeddings as batches."""

import numpy as np
import torch
from torch.utils.data import DataLoader

from speakerlab.data.batches import EpochBatches, Items
from speakerlab.data.embedding_files.branches import join
from speakerlab.data.embedding_files.dataset import BranchDataset, as_it_is, batches_of
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.samplers.random import RandomSampler

NAMES = [f"{i}" for i in range(10)]
BOTH = join(
    [
        checked(NAMES, np.arange(20.0).reshape(10, 2), "a"),
        checked(NAMES[::-1], -np.arange(30.0).reshape(10, 3), "b"),
    ]
)


def test_a_batch_has_what_each_network_gave_and_who_spoke():
    """Of utterances 8 to 2, of which the items are counted."""
    rows, classes = np.arange(8, 1, -1), np.array([0, 0, 1, 1, 2, 2, 2])
    data = BranchDataset(BOTH, rows, classes)
    assert len(data) == 7
    loader = DataLoader(
        data,
        batch_sampler=EpochBatches(RandomSampler(batch_size=3), Items(classes, np.ones(7)), seed=1),
        collate_fn=as_it_is,
    )
    seen = []
    for batch in loader:
        first, second = batch["embeddings"]
        for place, item in enumerate(batch["utterance"].tolist()):
            name = 8 - item
            assert first[place].tolist() == [2.0 * name, 2.0 * name + 1]
            assert second[place].tolist() == [-3.0 * (9 - name) - one for one in range(3)]
            assert batch["speaker"][place] == classes[item]
            seen.append(item)
        assert first.dtype == second.dtype == torch.float32 and batch["speaker"].dtype == torch.int64
        assert batch["faults"] == []
    assert sorted(seen) == list(range(7))


def test_ranks_share_what_is_judged_by(monkeypatch):
    monkeypatch.setattr("speakerlab.data.embedding_files.dataset.AT_ONCE", 2)
    rows = np.array([3, 1, 4, 1, 5])
    for world in (1, 2, 3):
        found = {}
        for rank in range(world):
            for batch in batches_of(BOTH, rows, rank, world):
                assert len(batch["utterance"]) <= 2
                mine = dict(zip(batch["utterance"].tolist(), batch["embeddings"][0].tolist(), strict=True))
                assert not mine.keys() & found.keys()
                found |= mine
        assert found == {place: [2.0 * row, 2.0 * row + 1] for place, row in enumerate(rows.tolist())}
