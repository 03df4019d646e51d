"""From utterances to rows: by a network, through the cache and on every device, or from saved embeddings."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from speakerlab.data import Progress
from speakerlab.data.embedding_files.embeddings import Embeddings
from speakerlab.data.length_batches import LengthBatches
from speakerlab.data.utterances import PartDataset, Utterances, utterances_in_files
from speakerlab.inference.embedding_batches import embed_in_processes, embed_share
from speakerlab.inference.embedding_cache import EmbeddingCache, audio_keys

log = logging.getLogger("speakerlab")
# Whatever turns utterances into rows `(utterances, dim)` float32: what scores and back ends are made of.
Embed = Callable[[Utterances], np.ndarray]
ProgressBar = Callable[[str], AbstractContextManager[Progress]]


class NetworkEmbedder:
    """Embeds what the cache does not have.

    Args:
        network: waveforms and lengths -> embeddings, with `embed_dim`.
        name: of the system, for the progress bar and the log.
        sample_rate: that it takes, in hertz.
        devices: where to embed; of several, each has a process that takes its share of the batches.
        num_workers: processes that read audio, for each device.
        cache: None keeps nothing.
        progress_bar: makes a progress bar of a description.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        sample_rate: int,
        devices: list[torch.device],
        num_workers: int,
        cache: EmbeddingCache | None,
        progress_bar: ProgressBar,
    ):
        self.network, self.name, self.sample_rate = network, name, sample_rate
        self.devices, self.num_workers = devices, num_workers
        self.cache, self.progress_bar = cache, progress_bar

    def __call__(self, utterances: Utterances) -> np.ndarray:
        """Embeddings `(utterances, embed_dim)` float32, each computed once, however often its audio is named.

        Raises:
            InputError: if a file can't be used.
        """
        keys = audio_keys(utterances)
        first, again = _once(keys)
        keys = keys[first]
        found, kept = (np.zeros(len(keys), bool), None) if self.cache is None else self.cache.find(keys)
        rows = np.full((len(keys), self.network.embed_dim), np.nan, np.float32) if kept is None else kept
        missing = np.flatnonzero(~found)
        began = time.monotonic()
        if len(missing):
            self._embed(utterances, first[missing], keys[missing], rows, missing)
        seconds = time.monotonic() - began
        rate = f" in {seconds:,.1f} s ({len(missing) / seconds:,.1f}/s)" if len(missing) else ""
        log.debug(
            f"{self.name}: {len(missing):,} utterances embedded{rate} on {', '.join(map(str, self.devices))}, "
            f"{found.sum():,} from the cache"
        )
        return rows[again]

    def _embed(
        self, utterances: Utterances, chosen: np.ndarray, keys: np.ndarray, rows: np.ndarray, places: np.ndarray
    ) -> None:
        """Fill `rows[places]` with the embeddings of the `chosen` utterances, and keep them under `keys`."""
        seconds, audio = utterances.measured(chosen), PartDataset(utterances, chosen, self.sample_rate)
        total, done = len(chosen), 0
        others = keys if self.cache is None else _other_keys(utterances, chosen, keys)
        try:
            with self.progress_bar(f"embedding, {self.name}") as progress:
                progress(0, total)
                for indices, embedded in self._batches(audio, seconds):
                    rows[places[indices]] = embedded
                    if self.cache is not None:
                        self.cache.add(keys[indices], embedded, others[indices])
                    done += len(indices)
                    progress(done, total)
        finally:
            if self.cache is not None:
                self.cache.close()

    def _batches(self, audio: PartDataset, seconds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        devices = self.devices[: len(LengthBatches(seconds))]
        if len(devices) > 1:
            return embed_in_processes(self.network, audio, seconds, devices, self.num_workers)
        return embed_share(self.network, audio, seconds, devices[0], self.num_workers)


def _once(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each key is first, in order, and the position among these of every key."""
    _, first, again = np.unique(keys.view(f"S{keys.itemsize}"), return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[again]


def _other_keys(utterances: Utterances, rows: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Keys by which the audio of some rows is asked for in other words: a list of trials names whole files, a manifest
    their samples from the first to the last. Where there are none, the rows' own `keys`."""
    samples = utterances.same_audio(rows)
    there = np.flatnonzero(samples)
    others, files = keys.copy(), [utterances.files[row] for row in rows[there]]
    same = replace(utterances_in_files([utterances.names[row] for row in rows[there]], files), samples=samples[there])
    others[there] = audio_keys(same)
    return others


class SavedEmbedder:
    """Rows of embeddings that were computed earlier, by name.

    Args:
        embeddings: as they were read.
        wanted_by: what names utterances, for messages.
    """

    def __init__(self, embeddings: Embeddings, wanted_by: str):
        self.embeddings, self.wanted_by = embeddings, wanted_by

    def __call__(self, utterances: Utterances) -> np.ndarray:
        """Embeddings `(utterances, dim)`.

        Raises:
            InputError: if some are not there.
        """
        rows = self.embeddings.rows_of(utterances.names, self.wanted_by)
        log.debug(f"{len(rows):,} of the {len(self.embeddings):,} embeddings of {self.embeddings.source}")
        return self.embeddings.rows[rows]
