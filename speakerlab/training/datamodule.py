"""Loaders of training crops, or of saved embeddings, and of development utterances."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from speakerlab.augment.recipe import Recipe
from speakerlab.data.batches import EpochBatches, Items, Sampler
from speakerlab.data.corpus import Corpus
from speakerlab.data.crops import CropDataset, collate
from speakerlab.data.embedding_files.dataset import BranchDataset, as_it_is, batches_of
from speakerlab.data.length_batches import LengthBatches
from speakerlab.data.manifest import seconds_of, speaker_classes
from speakerlab.data.recordings import AudioFiles, Recordings
from speakerlab.data.shards.dataset import ShardBatches, ShardDataset, check_sampler, sampler_items
from speakerlab.data.shards.index import Shards
from speakerlab.data.utterances import RowDataset, UtteranceDataset, measure, pad_utterances
from speakerlab.training.workers import worker_options


class SpeakerDataModule(pl.LightningDataModule):
    """Deals out a corpus.

    Args:
        corpus: training rows, and development trials with their files or validation rows.
        recordings: the audio of the training rows; None for shards, which hold their own, and for saved embeddings,
            which are in memory, so that no processes read them.
        sampler: orders the utterances; its batches are divided among the ranks.
        augment: what is done to the training audio.
        crop_seconds: length of a training crop; None takes whole utterances.
        sample_rate: in hertz.
        num_workers: processes that read and augment; 0 does it in the training process.
        seed: of order, crops and augmentations.

    Raises:
        InputError: if the corpus is too small for the sampler.
    """

    def __init__(
        self,
        corpus: Corpus,
        recordings: Recordings | None,
        sampler: Sampler,
        augment: Recipe,
        crop_seconds: float | None,
        sample_rate: int,
        num_workers: int,
        seed: int,
    ):
        super().__init__()
        self.corpus = corpus
        self.speakers = corpus.speakers
        self.augment = augment
        self.recordings = recordings
        self.crop_seconds = crop_seconds
        self.sample_rate = sample_rate
        self.seed = seed
        if isinstance(corpus.train, Shards):
            check_sampler(sampler)  # first, since it would ask for speakers that it is not told of
            self.items = sampler_items(corpus.train)
        else:
            seconds = seconds_of(corpus.train) if crop_seconds is None else np.full(corpus.utterances, crop_seconds)
            self.items = Items(speaker_classes(corpus.train, self.speakers), seconds)
        self.dataset = self._dataset(augment)
        sampler.batches_per_epoch(self.items)  # raises what there is to raise before a run has a folder
        self.sampler = sampler
        note = sampler.note(self.items) if hasattr(sampler, "note") else None
        self.notes = () if note is None else (note,)  # for the log
        self.num_workers = num_workers if corpus.saved is None else 0
        if corpus.validation is not None:
            self.validation_classes = speaker_classes(corpus.validation, self.speakers)
        if corpus.saved is not None:
            judged = corpus.validation
            names = corpus.trials.utterances if judged is None else judged["utterance"].to_pylist()
            self.development_rows = corpus.saved.rows_of(names, "those to be judged by")
        elif corpus.validation is None:
            self.development = UtteranceDataset(corpus.development, sample_rate)
            self.development_seconds = measure(corpus.development)
        else:
            self.development = RowDataset(AudioFiles(corpus.validation, sample_rate))
            self.development_seconds = seconds_of(corpus.validation)
        self.resume_point = (0, 0)
        self.resumed_order: dict[str, int] = {}  # of shards

    def _dataset(self, augment: Recipe) -> CropDataset | ShardDataset | BranchDataset:
        if self.corpus.saved is not None:
            rows = self.corpus.saved.rows_of(self.corpus.train["utterance"].to_pylist(), "the corpus")
            return BranchDataset(self.corpus.saved, rows, self.items.speakers)
        if isinstance(self.corpus.train, Shards):
            return ShardDataset(self.corpus.train, self.crop_seconds, self.sample_rate, self.seed, augment)
        return CropDataset(
            self.recordings,
            self.items.speakers,
            len(self.speakers),
            self.crop_seconds,
            self.sample_rate,
            self.seed,
            augment,
        )

    def batches(self, rank: int = 0, world_size: int = 1) -> EpochBatches | ShardBatches:
        """The order in which a rank meets the training items."""
        if isinstance(self.dataset, ShardDataset):
            count = self.sampler.batches_per_epoch(self.items)
            return self.dataset.deal(self.sampler, count, rank, world_size, self.num_workers)
        return EpochBatches(self.sampler, self.items, self.seed, rank, world_size)

    def check(self, world_size: int, state: dict | None) -> None:
        """Refuse what a rank would have to refuse, before there are ranks: there, Lightning's teardown puts an error of
        its own in the place of one from a loader that has not begun.

        Args:
            world_size: processes that are to train.
            state: as `state_dict` gave it, of the checkpoint to resume from; None for a new run.

        Raises:
            InputError: if batches are too small for so many processes, or a resumed epoch's order would be another.
        """
        batches = self.batches(0, world_size)
        if state is not None:
            self._start(batches, state["epoch"], state["batches"], state.get("order", {}))
        if isinstance(batches, EpochBatches):
            batches.check()

    def train_dataloader(self) -> DataLoader:
        batches = self.batches(self.trainer.global_rank, self.trainer.world_size)
        self._start(batches, *self.resume_point, self.resumed_order)
        return DataLoader(
            self.dataset,
            batch_sampler=batches,
            collate_fn=as_it_is if isinstance(self.dataset, BranchDataset) else collate,
            # Workers draw nothing from torch; a generator of its own keeps the loader from advancing dropout's.
            generator=torch.Generator(),
            **self._loading(),
        )

    def _start(self, batches: EpochBatches | ShardBatches, epoch: int, batch: int, order: dict[str, int]) -> None:
        """Where a resumed run begins; InputError if that is within an epoch of shards which had another `order`."""
        if batch % len(batches) and isinstance(self.dataset, ShardDataset):
            self.dataset.check_order(order)
        batches.start_at(epoch + batch // len(batches), batch % len(batches))

    def development_dataloader(self) -> Iterable[dict]:
        """This rank's share of the development utterances, whole; see `pad_utterances`. Of saved embeddings, these."""
        if self.corpus.saved is not None:
            ranks = self.trainer.global_rank, self.trainer.world_size
            return batches_of(self.corpus.saved, self.development_rows, *ranks)
        return DataLoader(
            self.development,
            batch_sampler=LengthBatches(
                self.development_seconds, rank=self.trainer.global_rank, world_size=self.trainer.world_size
            ),
            collate_fn=pad_utterances,
            generator=torch.Generator(),
            **worker_options(self.num_workers, self.trainer.world_size),
        )

    def plain_waveforms(self, most: int = 2000) -> Iterator[Tensor]:
        """Training items without augmentation, one after the other, `(1, samples)`; the same ones on every rank."""
        plain = self._dataset(Recipe())
        if isinstance(plain, ShardDataset):
            count = self.sampler.batches_per_epoch(self.items)
            keys = list(plain.deal(self.sampler, count, 0, 1, 0))
            items = (item for key in keys for item in plain.__getitems__(key))
        else:
            order = np.random.default_rng(self.seed).permutation(len(plain))
            items = (plain[0, position, item] for position, item in enumerate(order.tolist()))
        for item in islice(items, most):
            yield torch.from_numpy(item["waveform"][None])

    def state_dict(self) -> dict:
        """Where the stream of batches stands: (epoch, batches of it that were trained on), and what a sampler has been
        told by the training (see `speakerlab.training.similar_speakers`)."""
        loop = self.trainer.fit_loop
        done = loop.epoch_loop.batch_progress.current.processed
        state = {"epoch": loop.epoch_progress.current.started - 1, "batches": done}
        if isinstance(self.dataset, ShardDataset):
            state["order"] = self.dataset.order
        neighbours = getattr(self.sampler, "neighbours", None)
        return state if neighbours is None else state | {"neighbours": torch.from_numpy(neighbours)}

    def load_state_dict(self, state: dict) -> None:
        self.resume_point = (state["epoch"], state["batches"])
        self.resumed_order = state.get("order", {})
        if "neighbours" in state:
            self.sampler.neighbours = state["neighbours"].numpy()

    def _loading(self) -> dict:
        if self.num_workers == 0:
            return {}
        return worker_options(self.num_workers, self.trainer.world_size) | {
            "persistent_workers": True,
            "prefetch_factor": 4,
            "pin_memory": torch.cuda.is_available(),
        }
