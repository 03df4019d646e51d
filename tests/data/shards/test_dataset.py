"""Training batches through real loaders and worker processes."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from shard_files import RATE, make_manifest, packing
from torch.utils.data import DataLoader

from speakerlab import InputError
from speakerlab.augment.chain import Chain
from speakerlab.augment.recipe import Recipe
from speakerlab.augment.specaugment import SpecAugment
from speakerlab.data.crops import CropDataset, collate
from speakerlab.data.manifest import speaker_classes
from speakerlab.data.recordings import AudioFiles
from speakerlab.data.samplers.random import RandomSampler
from speakerlab.data.shards.dataset import ShardDataset, sampler_items
from speakerlab.data.shards.index import Shards, read_index
from speakerlab.data.shards.packing import pack
from speakerlab.data.shards.plan import Layout, pieces


class Faster:
    """Plays everything 1.25 times as fast, as the second voice."""

    voices = 2

    def draw(self, generator):
        return 1.25, 1


def make(folder, augment=None, crop_seconds=0.1, shuffle_buffer=10) -> ShardDataset:
    shards = Shards(read_index(str(folder)), shuffle_buffer)
    return ShardDataset(shards, crop_seconds, RATE, 7, augment or Recipe())


def loader(dataset, batch_size=6, rank=0, ranks=1, workers=0, start=(0, 0), crops=1) -> DataLoader:
    """As the data module puts it together."""
    sampler = RandomSampler(batch_size, crops)
    batches = dataset.deal(sampler, sampler.batches_per_epoch(sampler_items(dataset.shards)), rank, ranks, workers)
    batches.start_at(*start)
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        generator=torch.Generator(),
    )


def epoch(given: DataLoader, number: int) -> list[dict]:
    given.batch_sampler.set_epoch(number)
    return list(given)


def same(first: list[dict], second: list[dict]) -> bool:
    keys = ("waveform", "length", "speaker", "utterance")
    return len(first) == len(second) and all(
        torch.equal(a[key], b[key]) for a, b in zip(first, second, strict=True) for key in keys
    )


def utterances(batches: list[dict]) -> list[int]:
    return [number for batch in batches for number in batch["utterance"].tolist()]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2])
def test_each_utterance_once_and_equal_work(packed, workers, ranks):
    loaders = [loader(make(packed), rank=rank, ranks=ranks, workers=workers) for rank in range(ranks)]
    for number in (0, 1, 2):
        found = [epoch(given, number) for given in loaders]
        assert all(len(batches) == len(given) == 7 for batches, given in zip(found, loaders, strict=True))
        assert sorted(number for batches in found for number in utterances(batches)) == list(range(40))
        sizes = [len(batch["waveform"]) for batches in found for batch in batches]
        assert max(sizes) - min(sizes) <= 1 and max(sizes) <= 6


def test_epochs_repeat_for_equal_workers_and_ranks(packed):
    for ranks, workers in ((1, 0), (1, 2), (2, 2)):
        first, again = (loader(make(packed), rank=ranks - 1, ranks=ranks, workers=workers) for _ in range(2))
        one, two = epoch(first, 0), epoch(first, 1)
        assert not same(one, two)
        assert same(epoch(again, 1), two) and same(epoch(again, 0), one), "the order of epochs matters"


def test_no_worker_and_one_worker_read_alike(packed):
    assert same(epoch(loader(make(packed), workers=0), 0), epoch(loader(make(packed), workers=1), 0))


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_any_batch_of_an_epoch_can_be_the_first(packed, workers):
    whole = epoch(loader(make(packed), workers=workers), 1)
    for done in range(8) if workers == 0 else (1, 4):
        assert same(list(loader(make(packed), workers=workers, start=(1, done))), whole[done:])


def by_files(table, folder, augment) -> CropDataset:
    """What `data=folder` would make of the rows in packed order."""
    order = np.random.default_rng(1).permutation(table.num_rows)
    rows = table.take(order)
    speakers = sorted(set(table["speaker"].to_pylist()))
    return CropDataset(AudioFiles(rows, RATE), speaker_classes(rows, speakers), len(speakers), 0.1, RATE, 7, augment)


@pytest.mark.parametrize("speed", [None, Faster()])
def test_items_are_those_of_audio_files(table, packed, speed):
    """Crops, labels and draws to the bit, with the same seeds: those of (epoch, position in the epoch's sequence)."""
    augment = Recipe(speed, spectrum=Chain({"mask": SpecAugment()}))
    dataset = make(packed, augment)
    files = by_files(table, packed, augment)
    position = {}
    for piece in pieces(dataset.shards.items, 1, 7, 2, 0, 40):
        for item in range(piece.first, piece.end):
            number = int(dataset.shards.items[: piece.shard].sum()) + item
            position[number] = piece.position + item - piece.first
    for batch in epoch(loader(dataset), 2):
        numbers = batch["utterance"].tolist()
        expected = collate([files[2, position[number], number] for number in numbers])
        assert batch.keys() == expected.keys()
        assert all(torch.equal(batch[key], expected[key]) for key in ("waveform", "length", "speaker", "utterance"))
        drawn, wanted = batch["spectrum_draws"]["mask"], expected["spectrum_draws"]["mask"]
        assert drawn.keys() == wanted.keys() and all(torch.equal(drawn[key], wanted[key]) for key in wanted)
        if speed:
            assert batch["speaker"].min() >= 8


def test_several_crops_of_each_utterance(packed):
    found = utterances(epoch(loader(make(packed), crops=3, ranks=1, workers=2), 0))
    assert sorted(found) == sorted([*range(40)] * 3)


def test_whole_utterances(packed, table):
    batches = epoch(loader(make(packed, crop_seconds=None)), 0)
    assert sorted(length for batch in batches for length in batch["length"].tolist()) == sorted(
        table["samples"].to_pylist()
    )
    assert all(batch["waveform"].shape[1] == batch["length"].max() for batch in batches)


def test_unreadable_audio_is_replaced_and_told(tmp_path):
    table = make_manifest(tmp_path / "voices", speakers=4, utterances=5)
    pack(table, tmp_path / "to", packing(audio_format="copy", shard_items=20))
    shard = tmp_path / "to/shard-000000.tar"
    data = bytearray(shard.read_bytes())
    data[512:556] = b"x" * 44  # the header of the first file
    shard.write_bytes(bytes(data))
    batches = epoch(loader(make(tmp_path / "to"), batch_size=5), 0)
    faults = [fault for batch in batches for fault in batch["faults"]]
    ((path, reason),) = faults
    assert path.endswith("shard-000000.tar/000000000.wav") and reason.startswith("not readable as audio")
    assert len(utterances(batches)) == 20 and len(set(utterances(batches))) == 19


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_vanishes_stops_the_epoch(packed, tmp_path, monkeypatch, workers):
    # Torch waits so long for each worker after an error, and then ends it.
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    copy = shutil.copytree(packed, tmp_path / "copy")
    given = loader(make(copy), workers=workers)
    (copy / "shard-000003.tar").unlink()
    with pytest.raises(InputError, match=r"shard-000003.tar: can't be opened"):
        epoch(given, 0)
    if workers:
        given._iterator._shutdown_workers()


def test_a_speaker_that_the_index_lacks(packed):
    dataset = make(packed)
    dataset.classes.pop("s3")
    with pytest.raises(InputError, match=r"\.tar/\d+.flac: its speaker 's3' is not in the index"):
        epoch(loader(dataset), 0)


def test_other_samplers_and_small_batches_are_refused(packed):
    with pytest.raises(InputError, match=r"sampler=random"):
        make(packed).deal(object(), 5, 0, 1, 0)
    with pytest.raises(InputError, match=r"raise sampler.batch_size"):
        loader(make(packed), batch_size=2, ranks=2)


def test_a_resumed_epoch_needs_the_same_order(packed):
    first, other = make(packed), make(packed)
    loader(first, workers=2, ranks=2)
    loader(other, workers=2, ranks=2, rank=1)
    first.check_order(other.order)
    for change, named in (
        ({"workers": 3}, "loader.num_workers 2 than with 3"),
        ({"ranks": 1}, "processes 2 than with 1"),
    ):
        loader(other, **{"workers": 2, "ranks": 2} | change)
        with pytest.raises(InputError, match=named):
            first.check_order(other.order)
    other.shards = replace(other.shards, shuffle_buffer=11)
    loader(other, workers=2, ranks=2)
    with pytest.raises(InputError, match="data.shuffle_buffer 10 than with 11"):
        first.check_order(other.order)
    assert isinstance(first.layout, Layout)
