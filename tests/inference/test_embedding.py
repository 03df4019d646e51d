"""Rows for utterances: each embedded once, the rest from the cache or from files."""

import logging
import math
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.utterances import Utterances, utterances_in_files
from speakerlab.inference.embedding import NetworkEmbedder, SavedEmbedder
from speakerlab.inference.embedding_cache import EmbeddingCache

CPU = torch.device("cpu")


class Spectrum(nn.Module):
    """A stub whose embedding depends on every sample of an utterance and its length, and on nothing else."""

    embed_dim = 5

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, waveform, lengths):
        self.batches.append(lengths.tolist())
        time = torch.arange(waveform.shape[1]) / 16000
        valid = time * 16000 < lengths[:, None]
        waves = torch.stack([torch.cos(2 * math.pi * hertz * time) for hertz in (100, 200, 300, 400, 500)])
        return (waveform * valid) @ waves.T / lengths[:, None] + 1e-3


def write_files(tmp_path, count: int = 9) -> tuple[list, list[np.ndarray]]:
    """Files of different lengths, and what they hold."""
    generator, files, waves = np.random.default_rng(0), [], []
    for i in range(count):
        samples = int(generator.integers(4000, 30000))
        hertz = generator.choice([100, 200, 300, 400, 500], 2)
        wave = sum(np.cos(2 * np.pi * h * np.arange(samples) / 16000) for h in hertz) * 0.3
        files.append(tmp_path / f"{i}.flac")
        soundfile.write(files[-1], wave + 0.05 * generator.uniform(-1, 1, samples), 16000)
        waves.append(soundfile.read(files[-1], dtype="float32")[0])
    return files, waves


def alone(wave: np.ndarray) -> np.ndarray:
    return Spectrum()(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))[0].numpy()


class Bars:
    """Progress bars that remember what they were told."""

    def __init__(self):
        self.told = []

    @contextmanager
    def __call__(self, description: str):
        yield lambda done, total: self.told.append((description, done, total))


def embedder(network: nn.Module, bars: Bars, cache: EmbeddingCache | None = None, workers: int = 0) -> NetworkEmbedder:
    return NetworkEmbedder(network, "model", 16000, [CPU], workers, cache, bars)


@pytest.mark.parametrize("workers", [0, 1])
def test_every_utterance_gets_its_own_row(tmp_path, workers):
    files, waves = write_files(tmp_path)
    network, bars = Spectrum().train(), Bars()
    again = [3, 8, 3, *range(9)]  # some audio has several names
    names = [f"u{i}" for i in range(len(again))]
    found = embedder(network, bars, workers=workers)(utterances_in_files(names, [files[i] for i in again]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [alone(waves[i]) for i in again], atol=1e-5)
    assert sum(len(batch) for batch in network.batches) == 9 and network.training
    assert bars.told[0] == ("embedding, model", 0, 9) and bars.told[-1] == ("embedding, model", 9, 9)


def test_parts_of_files(tmp_path):
    files, waves = write_files(tmp_path, 2)
    parts = [(0, 100, 3000), (1, 0, 3500), (0, 0, 3000)]
    utterances = Utterances(
        ["a", "b", "c"],
        [str(files[i]) for i, _, _ in parts],
        np.array([first for _, first, _ in parts]),
        np.array([count for _, _, count in parts]),
        np.array([count / 16000 for _, _, count in parts]),
    )
    found = embedder(Spectrum(), Bars())(utterances)
    expected = [alone(waves[i][first : first + count]) for i, first, count in parts]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_only_what_is_missing_is_embedded(tmp_path, caplog):
    files, waves = write_files(tmp_path)
    names = [f"u{i}" for i in range(9)]
    with caplog.at_level(logging.DEBUG, logger="speakerlab"):
        for wanted, expected in [(range(5), 5), (range(5), 0), ([8, 1, 0, 7], 2), (range(9), 2), (range(9), 0)]:
            network, bars = Spectrum(), Bars()
            cache = EmbeddingCache(tmp_path / "cache", "spectrum", 1.0)
            some = utterances_in_files([names[i] for i in wanted], [files[i] for i in wanted])
            found = embedder(network, bars, cache)(some)
            assert sum(len(batch) for batch in network.batches) == expected
            np.testing.assert_allclose(found, [alone(waves[i]) for i in wanted], atol=1e-5)
            assert bool(bars.told) == bool(expected)
            there = len(wanted) - expected
            assert f"{expected} utterances embedded" in caplog.messages[-1]
            assert f"on cpu, {there} from the cache" in caplog.messages[-1]
    np.testing.assert_array_equal(found, embedder(Spectrum(), Bars(), cache)(some))


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_whole_file_is_the_same_in_a_list_and_in_a_manifest(tmp_path, whole_first):
    files, waves = write_files(tmp_path, 3)
    whole, lengths = utterances_in_files(["a", "b", "c"], files), np.array([len(wave) for wave in waves])
    lengths[2] -= 1  # this row leaves the last sample out
    rows = Utterances(["d", "e", "f"], whole.files, np.zeros(3, np.int64), lengths, lengths / 16000)
    first, second = (whole, rows) if whole_first else (rows, whole)
    cache = EmbeddingCache(tmp_path / "cache", "spectrum", 1.0)
    before, network = embedder(Spectrum(), Bars(), cache)(first), Spectrum()
    after = embedder(network, Bars(), cache)(second)
    assert network.batches == [[len(waves[2]) if second is whole else lengths[2]]]
    np.testing.assert_array_equal(before[:2], after[:2])


def test_a_changed_file_is_embedded_anew(tmp_path):
    files, _ = write_files(tmp_path, 3)
    some = utterances_in_files(["a", "b", "c"], files)
    before = embedder(Spectrum(), Bars(), EmbeddingCache(tmp_path / "cache", "spectrum", 1.0))(some)
    soundfile.write(files[1], 0.1 * np.ones(5000), 16000)
    network = Spectrum()
    after = embedder(network, Bars(), EmbeddingCache(tmp_path / "cache", "spectrum", 1.0))(some)
    assert [len(batch) for batch in network.batches] == [1]
    assert (before[[0, 2]] == after[[0, 2]]).all() and (before[1] != after[1]).any()


def test_what_was_done_before_a_bad_file_is_kept(tmp_path):
    """The longest come first; two batches."""
    files = []
    for i, seconds in enumerate((100, 80, 2)):
        files.append(tmp_path / f"{i}.flac")
        soundfile.write(files[-1], 0.1 * np.random.default_rng(i).standard_normal(seconds * 16000), 16000)
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[: len(whole) // 2])  # its header promises more
    some = utterances_in_files(["a", "b", "c"], files)
    with pytest.raises(InputError, match=r"1\.flac"):
        embedder(Spectrum(), Bars(), EmbeddingCache(tmp_path / "cache", "spectrum", 1.0))(some)
    files[1].write_bytes(whole)
    network = Spectrum()
    embedder(network, Bars(), EmbeddingCache(tmp_path / "cache", "spectrum", 1.0))(some)
    assert sorted(length for batch in network.batches for length in batch) == [2 * 16000, 80 * 16000]


def test_unusable_files_are_counted(tmp_path):
    files, _ = write_files(tmp_path, 3)
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(InputError, match=r"text\.wav: not readable as audio.*\(1 of 4 files"):
        embedder(Spectrum(), Bars())(utterances_in_files(["a", "b", "c", "d"], [*files, tmp_path / "text.wav"]))
    with pytest.raises(InputError, match=r"gone\.wav: can't be read"):
        embedder(Spectrum(), Bars())(utterances_in_files(["a"], [tmp_path / "gone.wav"]))


def test_saved_rows_by_name():
    saved = checked(["a.wav", "b.wav", "c.wav"], np.eye(3), "saved.npz")
    found = SavedEmbedder(saved, "list.txt")(utterances_in_files(["c.flac", "a.wav", "c.wav"], None))
    np.testing.assert_array_equal(found, np.eye(3)[[2, 0, 2]])
    with pytest.raises(InputError, match=r"saved\.npz: 1 of the 1 utterances of list\.txt have no embedding: d"):
        SavedEmbedder(saved, "list.txt")(utterances_in_files(["d"], None))
