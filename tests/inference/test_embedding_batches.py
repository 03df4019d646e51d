"""The same rows from one process and from several, which may fail or be killed."""

import multiprocessing
import os
import signal

import numpy as np
import pytest
import soundfile
import torch
from tones import ToneNetwork

from speakerlab import InputError
from speakerlab.data.utterances import PartDataset, measure, utterances_in_files
from speakerlab.inference.embedding_batches import embed_in_processes, embed_share

CPU = torch.device("cpu")


def audio(tmp_path, count: int = 12) -> tuple[PartDataset, np.ndarray]:
    """Noise of one to sixty seconds at a low rate, in more than one batch."""
    generator, files = np.random.default_rng(0), []
    for i in range(count):
        files.append(tmp_path / f"{i}.wav")
        soundfile.write(files[-1], 0.1 * generator.standard_normal(int(generator.uniform(1000, 60000))), 1000)
    return PartDataset(utterances_in_files([f"{i}" for i in range(count)], files), np.arange(count), 1000), measure(
        files
    )


def gathered(batches, count: int) -> np.ndarray:
    rows, seen = np.full((count, ToneNetwork.embed_dim), np.nan, np.float32), []
    for indices, embedded in batches:
        rows[indices] = embedded
        seen.extend(indices.tolist())
    assert sorted(seen) == list(range(count))
    return rows


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_two_processes_give_the_rows_of_one(tmp_path, workers):
    dataset, seconds = audio(tmp_path)
    alone = gathered(embed_share(ToneNetwork(), dataset, seconds, CPU, workers), 12)
    assert np.isfinite(alone).all()
    shares = [list(embed_share(ToneNetwork(), dataset, seconds, CPU, 0, share, 2)) for share in range(2)]
    assert all(len(share) > 1 for share in shares), "nothing to share"
    together = gathered(embed_in_processes(ToneNetwork(), dataset, seconds, [CPU, CPU], workers), 12)
    np.testing.assert_array_equal(together, alone)
    assert not multiprocessing.active_children()


def test_a_bad_file_ends_all_processes(tmp_path):
    dataset, seconds = audio(tmp_path)
    (tmp_path / "3.wav").write_bytes(b"no audio")
    with pytest.raises(InputError, match=r"3\.wav"):
        list(embed_in_processes(ToneNetwork(), dataset, seconds, [CPU, CPU], 0))
    assert not multiprocessing.active_children()


class Deadly(ToneNetwork):
    """Dies as a process without memory does, after its first batch."""

    calls = 0

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(waveform, lengths)


def test_a_killed_process_is_told(tmp_path):
    dataset, seconds = audio(tmp_path)
    with pytest.raises(RuntimeError, match="a process that embeds ended with status -9"):
        list(embed_in_processes(Deadly(), dataset, seconds, [CPU, CPU], 0))
    assert not multiprocessing.active_children()
