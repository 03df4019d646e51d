"""Crops of files whose every sample tells where it stood."""

import re
import shutil
from fractions import Fraction
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from speakerlab import InputError
from speakerlab.augment.chain import Chain
from speakerlab.augment.noise import AdditiveNoise
from speakerlab.augment.recipe import Recipe
from speakerlab.data.audio import read_audio
from speakerlab.data.batches import EpochBatches, Items
from speakerlab.data.crops import CropDataset, collate
from speakerlab.data.manifest import as_manifest, speaker_classes
from speakerlab.data.pcm import cache_pcm
from speakerlab.data.recordings import AudioFiles
from speakerlab.data.samplers.random import RandomSampler

RATE = 16000


class Recorder:
    """An augmentation chain that draws what it was asked with, and a number."""

    def __init__(self, name: str):
        self.name = name

    def draw(self, seed, samples):
        number = np.random.default_rng([*seed, len(self.name)]).random(dtype=np.float32)
        return {self.name: {"seed": np.array(seed), "samples": np.array(samples), "number": np.array(number)}}


def recipe() -> Recipe:
    return Recipe(waveform=Recorder("w"), spectrum=Recorder("spec"))


def write(folder, name: str, seconds: float, rate: int = RATE) -> tuple[str, int, int]:
    """Noise, exact in 16 bits."""
    samples = round(seconds * rate)
    noise = np.random.default_rng(samples).integers(-20000, 20000, samples).astype(np.int16)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / name, noise, rate)
    return name, samples, rate


def manifest(folder, files, first_sample=0) -> pa.Table:
    """Of (name, samples, rate); the name's folder is the speaker."""
    names, samples, rates = zip(*files, strict=True)
    columns = {
        "utterance": list(names),
        "speaker": [name.split("/")[0] for name in names],
        "session": [""] * len(names),
        "root": [str(folder)] * len(names),
        "path": list(names),
        "first_sample": [first_sample] * len(names),
        "samples": [count - first_sample for count in samples],
        "sample_rate": list(rates),
        "split": ["train"] * len(names),
        "gender": [""] * len(names),
    }
    return as_manifest(pa.table(columns), "test")


def dataset(table, crop_seconds=0.1, seed=7) -> CropDataset:
    speakers = sorted(set(table["speaker"].to_pylist()))
    classes = speaker_classes(table, speakers)
    return CropDataset(AudioFiles(table, RATE), classes, len(speakers), crop_seconds, RATE, seed, recipe())


def place(crop: np.ndarray, whole: np.ndarray) -> int:
    """Where in the file the crop stands, to the bit."""
    windows = np.lib.stride_tricks.sliding_window_view(whole, len(crop))
    (found,) = np.flatnonzero((windows == crop).all(axis=1))
    return int(found)


@pytest.fixture
def table(tmp_path):
    names = ("b/1.wav", 0.5), ("a/1.flac", 0.3), ("b/2.wav", 0.2), ("c/1.wav", 0.11)
    return manifest(tmp_path, [write(tmp_path, name, seconds) for name, seconds in names])


def test_an_item(table, tmp_path):
    item = dataset(table)[4, 17, 0]
    whole, _ = soundfile.read(tmp_path / "b/1.wav", dtype="float32")
    assert item["waveform"].dtype == np.float32 and item["waveform"].shape == (1600,)
    assert 0 <= place(item["waveform"], whole) <= 6400
    assert (item["length"], item["speaker"], item["utterance"]) == (1600, 1, 0)
    for draws in (item["waveform_draws"]["w"], item["spectrum_draws"]["spec"]):
        assert draws["seed"].tolist() == [7, 4, 17, 0] and draws["samples"] == 1600
    assert [dataset(table)[0, 0, i]["speaker"] for i in range(4)] == [1, 0, 1, 2]


@pytest.mark.parametrize("kind", ["wav", "flac", "pcm cache"])
def test_starts_are_uniform_and_reach_the_last(tmp_path, kind):
    """1,600 samples of 1,609: ten places, each a tenth of the time (chi-square, 9 degrees, p = 1e-4)."""
    name = "a/1.wav" if kind == "wav" else "a/1.flac"
    table = manifest(tmp_path, [write(tmp_path, name, 1609 / RATE)])
    crops = dataset(table)
    if kind == "pcm cache":
        crops.recordings = cache_pcm(table, RATE, tmp_path, 0.0)
    whole, _ = soundfile.read(tmp_path / name, dtype="float32")
    counts = np.bincount([place(crops[0, p, 0]["waveform"], whole) for p in range(1000)], minlength=10)
    assert len(counts) == 10
    assert ((counts - 100.0) ** 2 / 100.0).sum() < 33.7
    # The two ends by themselves, which an error of one in the range would starve (binomial, p = 1e-5).
    assert 60 < counts[0] < 145 and 60 < counts[-1] < 145


class Asked(AudioFiles):
    """Audio files, and what was read of them."""

    def read(self, row, first, count, speed=1.0):
        waveform = super().read(row, first, count, speed)
        self.asked = (first, count, len(waveform))
        return waveform


class Played:
    """Speed perturbation by one factor."""

    voices = 1

    def __init__(self, factor: float):
        self.factor = factor

    def draw(self, generator):
        return self.factor, 0


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize("speed", [0.9, 1.0, 1.0737, 1.1])
@pytest.mark.parametrize("crop_seconds", [0.1, 0.5101, 0.33333, 2.0])
def test_the_samples_read_are_those_that_are_needed(tmp_path, rate, speed, crop_seconds):
    """Never a sample short, which would be filled by repetition; at most what rounding up once costs."""
    table = manifest(tmp_path, [write(tmp_path, "a/1.wav", 2.5, rate)])
    files = Asked(table, RATE)
    crops = CropDataset(files, np.array([0]), 1, crop_seconds, RATE, 1, Recipe(Played(speed)))
    crop = round(crop_seconds * RATE)
    exact = Fraction(crop) * Fraction(round(rate * speed), RATE)
    for position in range(3):
        waveform = crops[0, position, 0]["waveform"]
        first, count, heard = files.asked
        assert exact <= count < exact + 1 and 0 <= first <= table["samples"][0].as_py() - count
        assert crop <= heard <= crop + Fraction(RATE, round(rate * speed)) + 1
        np.testing.assert_array_equal(waveform, files.read(0, first, count, speed)[:crop])


def test_a_file_just_long_enough_is_read_whole_and_not_repeated(tmp_path):
    """At 1.1 times the speed a crop of 1,600 samples takes 1,760: no more, though the float 1.1 * 16,000 is."""
    files = Asked(manifest(tmp_path, [write(tmp_path, "a/1.wav", 1760 / RATE)]), RATE)
    crops = CropDataset(files, np.array([0]), 1, 0.1, RATE, 1, Recipe(Played(1.1)))
    crops[0, 0, 0]
    assert files.asked == (0, 1760, 1600)


def test_starts_count_from_the_first_sample(tmp_path):
    crops = dataset(manifest(tmp_path, [write(tmp_path, "a/1.wav", 0.3)], first_sample=3000))
    whole, _ = soundfile.read(tmp_path / "a/1.wav", dtype="float32")
    places = [place(crops[0, position, 0]["waveform"], whole) for position in range(60)]
    assert 3000 <= min(places) < 3100 and 3100 < max(places) <= 3200


@pytest.mark.parametrize("samples", [1, 700, 800, 1599, 1600])
def test_short_files_repeat(tmp_path, samples):
    crops = dataset(manifest(tmp_path, [write(tmp_path, "a/1.wav", samples / RATE)]))
    whole, _ = soundfile.read(tmp_path / "a/1.wav", dtype="float32")
    expected = [whole[i % samples] for i in range(1600)]
    np.testing.assert_array_equal(crops[0, 0, 0]["waveform"], expected)


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
@pytest.mark.parametrize("crop_seconds", [0.1, 0.5101, 0.33333])
def test_other_rates_give_crops_of_the_same_length(tmp_path, rate, crop_seconds):
    """A 440 Hz tone stays one, to the last sample: nothing is repeated to fill the crop."""
    time = np.arange(rate) / rate
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 440 * time), rate)
    crops = dataset(manifest(tmp_path, [("tone.wav", rate, rate)]), crop_seconds)
    for position in range(5):
        crop = crops[0, position, 0]["waveform"]
        assert crop.shape == (round(crop_seconds * RATE),)
        # Amplitude and phase by least squares; the resampler rings at both ends.
        phase = 2 * np.pi * 440 * np.arange(len(crop)) / RATE
        basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
        weights = np.linalg.lstsq(basis, crop, rcond=None)[0]
        assert np.hypot(*weights) == pytest.approx(0.5, abs=0.01)
        error = np.abs(crop - basis @ weights)
        assert error[100:-100].max() < 0.01 and error.max() < 0.3


def same(first: dict, second: dict) -> bool:
    return all(np.array_equal(first[key], second[key]) for key in ("waveform", "length", "speaker", "utterance"))


def test_the_key_and_the_seed_decide(table):
    first = dataset(table)[3, 5, 0]
    np.random.seed(0)
    torch.manual_seed(0)
    again = dataset(table)[3, 5, 0]
    assert same(first, again)
    assert first["waveform_draws"]["w"]["number"] == again["waveform_draws"]["w"]["number"]
    for other in (dataset(table)[4, 5, 0], dataset(table)[3, 6, 0], dataset(table, seed=8)[3, 5, 0]):
        assert not same(first, other)
        assert first["waveform_draws"]["w"]["number"] != other["waveform_draws"]["w"]["number"]


def test_workers_and_ranks_change_nothing(table):
    crops = dataset(table)

    def load(workers, rank=0, world_size=1):
        items = Items(crops.classes, np.ones(len(crops)))
        batches = EpochBatches(RandomSampler(4, crops_per_utterance=3), items, 7, rank, world_size)
        batches.set_epoch(1)
        return list(DataLoader(crops, batch_sampler=batches, num_workers=workers, collate_fn=collate))

    alone, helped = load(0), load(2)
    assert len(alone) == len(helped) == 3
    for first, second in zip(alone, helped, strict=True):
        assert torch.equal(first["waveform"], second["waveform"]) and first["waveform"].dtype == torch.float32
        for key in ("length", "speaker", "utterance"):
            assert torch.equal(first[key], second[key]) and first[key].dtype == torch.int64
        assert torch.equal(first["waveform_draws"]["w"]["number"], second["waveform_draws"]["w"]["number"])
    for whole, *shares in zip(alone, load(0, 0, 2), load(0, 1, 2), strict=True):
        for rank, share in enumerate(shares):
            assert torch.equal(share["waveform"], whole["waveform"][rank::2])


def test_an_unreadable_file_is_replaced_by_one_of_its_speaker(table, tmp_path):
    (tmp_path / "b/1.wav").write_bytes(b"RIFF of nothing")
    items = [dataset(table)[2, position, 0] for position in range(20)]
    assert {item["utterance"] for item in items} == {2} and {item["speaker"] for item in items} == {1}
    for item in items:
        ((path, reason),) = item["faults"]
        assert path == f"{tmp_path}/b/1.wav" and reason.startswith("not readable as audio (")
    assert same(items[3], dataset(table)[2, 3, 0])
    assert dataset(table)[2, 3, 1]["faults"] == []


def test_the_only_file_of_a_speaker_is_replaced_by_any(table, tmp_path):
    (tmp_path / "a/1.flac").unlink()
    items = [dataset(table)[2, position, 1] for position in range(60)]
    assert {item["utterance"] for item in items} == {0, 2, 3}
    # A replacement that is drawn again would fail again.
    assert max(len(item["faults"]) for item in items) > 1


def test_nothing_readable_stops(table, tmp_path):
    for path in table["path"].to_pylist():
        (tmp_path / path).write_bytes(b"x")
    with pytest.raises(InputError, match="10 files in a row can't be read, the last one: .*: not readable as audio"):
        dataset(table)[0, 0, 0]


def test_a_speaker_whose_files_are_all_gone_is_replaced(table, tmp_path):
    shutil.rmtree(tmp_path / "b")
    items = [dataset(table)[2, position, 0] for position in range(40)]
    assert {item["utterance"] for item in items} == {1, 3}
    gone = (f"{tmp_path}/b/2.wav", "can't be opened (No such file or directory)")
    assert all(gone in item["faults"] for item in items)


def unreadable(path, how: str) -> None:
    """Spoil a whole file."""
    content = path.read_bytes()
    path.unlink()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "zero-byte":
        path.touch()
    elif how == "wrong extension":
        path.write_text("speaker,utterance\n")
    elif how == "all NaN":
        soundfile.write(path, np.full(8000, np.nan), RATE, subtype="FLOAT")
    elif how == "unreadable":
        path.symlink_to(path)  # in a circle; rights would not keep root out
    elif how == "a folder":
        path.mkdir()


REASONS = {
    "truncated": "has 39.. samples; samples .* were asked for",
    "zero-byte": r"is empty \(0 bytes\)",
    "wrong extension": "not readable as audio",
    "all NaN": "holds NaN",
    "unreadable": "can't be opened",
    "a folder": "is a folder",
    "vanished": "can't be opened",
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("how", REASONS)
def test_what_breaks_in_the_middle_of_an_epoch_is_replaced(tmp_path, how, workers):
    """The loader has begun when it happens; crops of all 8,000 samples, so that no crop is spared."""
    files = [write(tmp_path, f"a/{number}.wav", 0.5) for number in range(4)]
    crops = dataset(manifest(tmp_path, files), crop_seconds=0.5)
    batches = EpochBatches(RandomSampler(2, crops_per_utterance=20), Items(crops.classes, np.ones(4)), 7)
    loader = iter(DataLoader(crops, batch_sampler=batches, num_workers=workers, collate_fn=collate))
    assert next(loader)["faults"] == []
    unreadable(tmp_path / "a/2.wav", how)
    seen = list(loader)
    assert len(seen) == 39
    faults = [fault for batch in seen for fault in batch["faults"]]
    assert faults and all(path == f"{tmp_path}/a/2.wav" and re.match(REASONS[how], reason) for path, reason in faults)
    assert 2 not in torch.cat([batch["utterance"] for batch in seen[10:]])


def test_another_rate_and_channels_are_no_fault(tmp_path):
    """8 kHz, and 44.1 kHz stereo, are resampled and averaged."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (44100, 2))
    (tmp_path / "a").mkdir()
    soundfile.write(tmp_path / "a/stereo.wav", noise, 44100)
    soundfile.write(tmp_path / "a/slow.flac", noise[:8000, 0], 8000)
    crops = dataset(manifest(tmp_path, [("a/stereo.wav", 44100, 44100), ("a/slow.flac", 8000, 8000)]))
    for item in (0, 1):
        given = crops[0, 0, item]
        assert given["faults"] == [] and given["waveform"].shape == (1600,) and given["utterance"] == item


def test_an_unreadable_noise_clip_is_drawn_anew(table, tmp_path):
    clips = [write(tmp_path, f"noise/{number}.wav", 0.2) for number in range(3)]
    clips = [(str(tmp_path / name), samples, rate) for name, samples, rate in clips]
    noise = AdditiveNoise("noise", clips, partial(read_audio, sample_rate=RATE), [0, 15], probability=1.0)
    plain = dataset(table)
    crops = dataset(table)
    crops.augment = Recipe(waveform=Chain({"noise": noise}))
    untouched = [crops[0, position, 0] for position in range(30)]
    (tmp_path / "noise/1.wav").write_text("gone")
    items = [crops[0, position, 0] for position in range(30)]
    struck = [position for position in range(30) if items[position]["faults"]]
    assert 3 <= len(struck) <= 20
    for position, item in enumerate(items):
        # The utterance and its crop stay; those whose clip was whole keep it.
        assert same(item, plain[0, position, 0])
        drawn = item["waveform_draws"]["noise"]["noise"]
        assert np.ptp(drawn) > 0.5
        if position in struck:
            assert {path for path, _ in item["faults"]} == {f"{tmp_path}/noise/1.wav"}
        else:
            np.testing.assert_array_equal(drawn, untouched[position]["waveform_draws"]["noise"]["noise"])
    for number in (0, 2):
        (tmp_path / f"noise/{number}.wav").unlink()
    with pytest.raises(InputError, match="10 files in a row can't be read, the last one: .*noise/"):
        crops[0, 0, 0]


def test_whole_utterances_are_padded(table, tmp_path):
    crops = dataset(table, crop_seconds=None)
    batch = collate([crops[0, position, position] for position in range(3)])
    assert batch["length"].tolist() == [8000, 4800, 3200] and batch["waveform"].shape == (3, 8000)
    for row, name in enumerate(("b/1.wav", "a/1.flac", "b/2.wav")):
        whole, _ = soundfile.read(tmp_path / name, dtype="float32")
        np.testing.assert_array_equal(batch["waveform"][row, : len(whole)], whole)
        assert not batch["waveform"][row, len(whole) :].any()
    assert batch["faults"] == [] and batch["waveform_draws"]["w"]["samples"].tolist() == [8000, 4800, 3200]


class Faster:
    suffixes = ("", "-", "+")

    def draw(self, generator):
        return 1.25, 2


def test_speed_reads_just_what_it_needs_and_makes_a_new_speaker(tmp_path):
    rate = 16000
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 400 * np.arange(rate) / rate), rate)
    table = manifest(tmp_path, [("tone.wav", rate, rate)])
    crops = CropDataset(AudioFiles(table, RATE), np.array([0]), 7, 0.5, RATE, 1, Recipe(Faster()))
    item = crops[0, 0, 0]
    assert item["waveform"].shape == (8000,) and item["speaker"] == 14
    spectrum = np.abs(np.fft.rfft(item["waveform"] * np.hanning(8000)))
    assert spectrum.argmax() == 500 * 8000 / rate  # 400 Hz played 1.25 times as fast


def test_workers_that_are_started_anew_give_the_same(table):
    """A forked worker shares memory; the others map a file, so that no copy of the rows is sent."""
    crops = dataset(table)
    keys = [[(0, position, position % 4) for position in range(8)]]
    (here,) = DataLoader(crops, batch_sampler=keys, collate_fn=collate)
    (there,) = DataLoader(crops, batch_sampler=keys, collate_fn=collate, num_workers=1, multiprocessing_context="spawn")
    assert same(here, there)
