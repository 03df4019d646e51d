"""Training batches out of shards."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from torch.utils.data import Dataset

from speakerlab import InputError
from speakerlab.data.audio import read_audio
from speakerlab.data.batches import Items
from speakerlab.data.crops import Augment, CropDataset
from speakerlab.data.samplers.random import RandomSampler
from speakerlab.data.shards.index import Shards
from speakerlab.data.shards.plan import Layout
from speakerlab.data.shards.stream import Packed, stream


class ShardBatches:
    """The `batch_sampler` of shards: lists of one `(epoch, number of a batch)`. What is in a batch, `ShardDataset`
    knows; `EpochBatches` deals out utterances that a sampler orders.

    Args:
        count: batches an epoch.
    """

    def __init__(self, count: int):
        self.count = count
        self.epoch = 0
        self.first_batch = 0

    @property
    def sampler(self) -> "ShardBatches":
        """Itself, as in `EpochBatches`: Lightning announces epochs to it."""
        return self

    def start_at(self, epoch: int, batch: int) -> None:
        """Begin in the middle: `batch` batches of `epoch` are done."""
        self.epoch = epoch
        self.first_batch = batch

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is over `epoch`. A resumed epoch keeps its start."""
        if epoch != self.epoch:
            self.start_at(epoch, 0)

    def __len__(self) -> int:
        """Batches of a whole epoch, however many of them are left."""
        return self.count

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([(self.epoch, number)] for number in range(self.first_batch, self.count))


def sampler_items(shards: Shards) -> Items:
    """What a sampler may know of shards: how many utterances there are."""
    zero = np.broadcast_to(np.int64(0), len(shards))
    return Items(zero, np.broadcast_to(np.float64(1.0), len(shards)))


def check_sampler(sampler: object) -> None:
    """InputError if it wants another order than the shards'."""
    if not isinstance(sampler, RandomSampler):
        raise InputError(
            f"data=shards reads utterances in the shards' order, which {type(sampler).__name__} can't change: "
            "use sampler=random, and a loss that does not compare utterances, such as loss=aam"
        )


class ShardDataset(Dataset):
    """Crops of the utterances of shards, read in the shards' order and shuffled in a buffer.

    Indexed by lists of one `(epoch, number of a batch)`; gives the items of this rank's part of the batch, as
    `CropDataset` makes them. Their random choices follow from their position in the
    epoch's sequence of shards, whoever reads them. A batch is a pure function of its key and the layout: the open
    stream is there for speed, and a batch that does not continue it opens another.

    An utterance that can't be read is replaced by another of its batch.

    Args:
        shards: where they are and what they hold.
        crop_seconds, sample_rate, seed, augment: as for `CropDataset`.
    """

    def __init__(
        self,
        shards: Shards,
        crop_seconds: float | None,
        sample_rate: int,
        seed: int,
        augment: Augment,
    ):
        self.shards = shards
        self.utterances = len(shards)
        self.crop_seconds = crop_seconds
        self.sample_rate = sample_rate
        self.seed = seed
        self.augment = augment
        self.classes = {speaker: number for number, speaker in enumerate(shards.speakers)}
        self.layout: Layout | None = None
        self.stream: Iterator[Packed] | None = None
        self.next: tuple[int, int] | None = None  # epoch and batch that `stream` goes on with

    def __len__(self) -> int:
        return self.utterances

    def deal(self, sampler: object, count: int, rank: int, ranks: int, workers: int) -> ShardBatches:
        """Divide epochs among this many ranks and data workers, before any batch is asked for.

        Args:
            sampler: what the user chose.
            count: batches an epoch, according to it.
            rank, ranks: this process among all.
            workers: data workers of each.

        Raises:
            InputError: if the sampler wants another order than the shards', or batches are too small.
        """
        check_sampler(sampler)
        layout = Layout(count, sampler.crops_per_utterance, rank, ranks, max(workers, 1))
        layout.check(self.utterances)
        self.layout = layout
        return ShardBatches(count)

    @property
    def order(self) -> dict[str, int]:
        """What the order of an epoch depends on besides the seed, by the keys that a user sets."""
        return {
            "loader.num_workers": self.layout.lanes,  # 0 and 1 read alike
            "processes": self.layout.ranks,
            "batches an epoch": self.layout.batches,
            "data.shuffle_buffer": self.shards.shuffle_buffer,
        }

    def check_order(self, before: dict[str, int]) -> None:
        """Refuse to go on in the middle of an epoch whose order was another.

        Raises:
            InputError: naming what differs.
        """
        for name, value in self.order.items():
            if before.get(name) != value:
                raise InputError(
                    f"the checkpoint lies within an epoch, in which shards are read in another order with {name} "
                    f"{value} than with {before.get(name)}, as before: give the same"
                )

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[dict]:
        ((epoch, number),) = keys
        batch = self.read(epoch, number)
        crops = self.crops(batch)
        items = [crops[epoch, packed.position, place] for place, packed in enumerate(batch)]
        return [item | {"utterance": batch[item["utterance"]].number} for item in items]

    def read(self, epoch: int, number: int) -> list[Packed]:
        """The utterances of a batch."""
        lane, turn = number % self.layout.lanes, number // self.layout.lanes
        if self.next != (epoch, number):
            self.stream = stream(self.shards, self.layout, self.seed, epoch, lane, turn)
        batch = list(islice(self.stream, self.layout.size(number, self.utterances)))
        self.next = (epoch, number + self.layout.lanes)
        return batch

    def crops(self, batch: list[Packed]) -> CropDataset:
        """What gives the items of a batch, at (epoch, `Packed.position`, place in the batch)."""
        classes = np.array([self._class(packed) for packed in batch])
        return CropDataset(
            PackedRecordings(batch, self.sample_rate),
            classes,
            len(self.classes),
            self.crop_seconds,
            self.sample_rate,
            self.seed,
            self.augment,
        )

    def _class(self, packed: Packed) -> int:
        try:
            return self.classes[packed.speaker]
        except KeyError:
            raise InputError(
                f"{packed.audio}: its speaker {packed.speaker!r} is not in the index of the shards, "
                "which were made at another time"
            ) from None


class PackedRecordings:
    """Utterances in memory as `Recordings`.

    Args:
        packed: utterances.
        sample_rate: of what `read` gives, in hertz.
    """

    def __init__(self, packed: list[Packed], sample_rate: int):
        self.packed = packed
        self.samples = np.array([utterance.samples for utterance in packed])
        self.sample_rates = np.array([utterance.sample_rate for utterance in packed])
        self.sample_rate = sample_rate

    def read(self, row: int, first: int, count: int, speed: float = 1.0) -> np.ndarray:
        utterance = self.packed[row]
        return read_audio(utterance.audio, utterance.first_sample + first, count, self.sample_rate, speed)
