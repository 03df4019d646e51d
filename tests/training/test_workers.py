"""Data workers as they find themselves."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch.utils.data import DataLoader, Dataset

from speakerlab.build import build_corpus
from speakerlab.config import check
from speakerlab.training.assembly import build_datamodule
from speakerlab.training.workers import prepare_worker, worker_options


class Look(Dataset):
    """What the process that reads it is like."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        np.ones((2, 2)) @ np.ones((2, 2))
        return {
            "parent": os.getppid(),
            "torch": torch.get_num_threads(),
            "pools": [pool["num_threads"] for pool in threadpool_info()],
            "denormal": float(np.float32(1e-39) * np.float32(0.5)),
        }


@pytest.mark.parametrize("processes", [1, 2])
def test_a_data_worker(processes):
    """One thread and the training process's arithmetic; a child of this process only if that trains alone: another's
    threads may hold locks at the fork."""
    with threadpool_limits(2):
        (found,) = DataLoader(Look(), batch_size=None, **worker_options(1, processes))
    assert found["torch"] == 1 and found["pools"] and set(found["pools"]) == {1}
    assert found["denormal"] == 0.0
    assert (found["parent"] == os.getpid()) == (processes == 1 and not torch.cuda.is_available())


def test_no_worker_no_options():
    assert worker_options(0, 2) == {}


@pytest.mark.parametrize("processes", [1, 2])
def test_the_training_loaders_use_it(compose, folders, tiny, processes):
    """On the loaders themselves, since a worker without it is merely slow."""
    cfg, choices = compose(*folders.overrides(), *tiny, "loader.num_workers=2", "augment=heavy")
    cfg = check(cfg, "train", choices)
    data = build_datamodule(cfg, build_corpus(cfg))
    data.trainer = SimpleNamespace(global_rank=0, world_size=processes)
    loaders = data.train_dataloader(), data.development_dataloader()
    assert all(loader.worker_init_fn is prepare_worker for loader in loaders)
    if processes == 2:  # what is sent to a worker that is not a child
        assert all(loader.multiprocessing_context.get_start_method() == "forkserver" for loader in loaders)
        batch = next(iter(loaders[0]))
        data.num_workers = 0
        here = next(iter(data.train_dataloader()))
        assert torch.equal(batch["waveform"], here["waveform"])
