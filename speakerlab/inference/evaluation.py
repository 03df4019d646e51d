"""A network on a trial list: embeddings, scores, metrics and the files that keep them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn
from torch.utils.data import DataLoader, Dataset

from speakerlab.data import Progress
from speakerlab.data.manifest import append_rows, seconds_of
from speakerlab.data.recordings import AudioFiles
from speakerlab.data.trials import Trials
from speakerlab.data.utterances import LengthBatches, RowDataset, UtteranceDataset, pad_utterances
from speakerlab.network import embed_batches, in_order
from speakerlab.scoring.bootstrap import bootstrap_eer_interval
from speakerlab.scoring.cosine import cosine_scores
from speakerlab.scoring.metrics import verification_metrics

FEWEST_DRAWS, FEWEST_SPEAKERS = 100, 5  # from fewer, a 95 % interval is a number without meaning
METRICS = ("eer", "eer_low", "eer_high", "min_dcf_0.01", "min_dcf_0.05", "threshold", "targets", "nontargets")


def embed(
    network: nn.Module,
    utterances: Dataset,
    seconds: np.ndarray,
    device: torch.device,
    num_workers: int,
    progress: Progress,
) -> np.ndarray:
    """Embeddings `(utterances, embed_dim)`.

    Args:
        network: waveforms and lengths -> embeddings; moved to `device`.
        utterances: items `(index, (samples,))`; see `speakerlab.data.utterances`.
        seconds: `(utterances,)` their durations.
        device: where to embed.
        num_workers: processes that read audio.
        progress: called with (batches done, batches).
    """
    batches = LengthBatches(seconds)
    loader = DataLoader(utterances, batch_sampler=batches, collate_fn=pad_utterances, num_workers=num_workers)

    def reported():
        for done, batch in enumerate(loader):
            progress(done, len(batches))
            yield batch
        progress(len(batches), len(batches))

    return in_order(*embed_batches(network.to(device), reported(), device))


@dataclass(frozen=True)
class Embedder:
    """A network at work on files and on rows of manifests.

    Attributes:
        network: waveforms and lengths -> embeddings.
        name: of the system, for the progress bar.
        sample_rate: that the network takes, in hertz.
        device, num_workers: see `embed`.
        bar: makes a progress bar of a description.
    """

    network: nn.Module
    name: str
    sample_rate: int
    device: torch.device
    num_workers: int
    bar: Callable[[str], AbstractContextManager[Progress]]

    def files(self, files: list[Path], seconds: np.ndarray) -> np.ndarray:
        """Embeddings `(files, embed_dim)` of files of these durations."""
        return self._embed(UtteranceDataset(files, self.sample_rate), seconds, "embedding")

    def rows(self, table: pa.Table) -> np.ndarray:
        """Embeddings `(rows, embed_dim)` of a manifest."""
        return self._embed(
            RowDataset(AudioFiles(table, self.sample_rate)), seconds_of(table), "embedding known speakers"
        )

    def _embed(self, utterances: Dataset, seconds: np.ndarray, what: str) -> np.ndarray:
        with self.bar(f"{what}, {self.name}") as progress:
            return embed(self.network, utterances, seconds, self.device, self.num_workers, progress)


def score_trials(
    network: nn.Module,
    trials: Trials,
    files: list[Path],
    seconds: np.ndarray,
    sample_rate: int,
    device: torch.device,
    num_workers: int,
    progress: Progress,
) -> np.ndarray:
    """Cosine of each trial, `(trials,)`; every utterance is embedded once.

    Args:
        network, seconds, device, num_workers, progress: see `embed`.
        trials: the list.
        files: audio of each of `trials.utterances`.
        sample_rate: of the network, in hertz.
    """
    utterances = UtteranceDataset(files, sample_rate)
    embeddings = embed(network, utterances, seconds, device, num_workers, progress)
    return cosine_scores(embeddings, trials.enrol, trials.test)


def trial_metrics(trials: Trials, scores: np.ndarray, draws: int) -> dict[str, float]:
    """EER, both minDCF and the threshold; and the EER's 95 % interval over speakers where `draws` is above 0 and at
    least `FEWEST_SPEAKERS` have target trials."""
    metrics = verification_metrics(scores, trials.labels)
    speakers = speakers_by_targets(trials)
    if draws and len(np.unique(speakers[trials.enrol[trials.labels == 1]])) >= FEWEST_SPEAKERS:
        low, high = bootstrap_eer_interval(
            scores, trials.labels, speakers[trials.enrol], speakers[trials.test], draws=draws
        )
        metrics |= {"eer_low": low, "eer_high": high}
    return metrics


def speakers_by_targets(trials: Trials) -> np.ndarray:
    """A speaker number for each utterance, `(utterances,)`: those that target trials connect are one speaker.

    A trial list names no speakers, and folder names are no proof of one; its labels are.
    """
    target = trials.labels == 1
    count = len(trials.utterances)
    edges = coo_array(
        (np.ones(target.sum(), dtype=np.int8), (trials.enrol[target], trials.test[target])), shape=(count, count)
    )
    return connected_components(edges, directed=False)[1]


def append_test_metrics(
    path: Path,
    checkpoint: Path | str,
    source: str,
    rows: dict[str, dict[str, float]],
    columns: tuple[str, ...] = METRICS,
) -> None:
    """Add a line a system to a table of results: when, which checkpoint, on what, and the metrics of `columns`."""
    date = datetime.now().isoformat(timespec="seconds")
    place = {"date": date, "checkpoint": str(checkpoint), "trials": source}
    names = ("date", "checkpoint", "trials", "system", *columns)
    append_rows(path, names, [place | {"system": system} | metrics for system, metrics in rows.items()])
