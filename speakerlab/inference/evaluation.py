"""A network on a trial list: embeddings, scores, metrics and the files that keep them."""

import csv
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn
from torch.utils.data import DataLoader, Dataset

from speakerlab.data import Progress
from speakerlab.data.manifest import append_rows, replacing, write_rows
from speakerlab.data.trials import Trials
from speakerlab.data.utterances import LengthBatches, UtteranceDataset, pad_utterances
from speakerlab.network import embed_batches, in_order
from speakerlab.scoring.bootstrap import bootstrap_metrics, interval
from speakerlab.scoring.cosine import cosine_scores
from speakerlab.scoring.metrics import USUAL_POINTS
from speakerlab.scoring.trial_metrics import trial_metrics as scoring_metrics

FEWEST_DRAWS, FEWEST_SPEAKERS = 100, 5  # from fewer, a 95 % interval is a number without meaning


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


def trial_metrics(
    trials: Trials,
    scores: np.ndarray,
    draws: int,
    points: Sequence[str | float] = USUAL_POINTS,
    llrs: np.ndarray | None = None,
) -> dict[str, float]:
    """What `speakerlab.scoring.trial_metrics` gives; and of EER and each minDCF the ends `<name>_low` and `<name>_high`
    of the 95 % interval over speakers, where `draws` is above 0 and at least `FEWEST_SPEAKERS` have target trials.

    Args:
        trials: the list.
        scores: `(trials,)`.
        draws: of the intervals.
        points: operating points.
        llrs: `(trials,)` log-likelihood ratios, if the scores were calibrated.
    """
    metrics = scoring_metrics(scores, trials.labels, points, llrs)
    speakers = speakers_by_targets(trials)
    if draws and len(np.unique(speakers[trials.enrol[trials.labels == 1]])) >= FEWEST_SPEAKERS:
        sides = speakers[trials.enrol], speakers[trials.test]
        for name, drawn in bootstrap_metrics(scores, trials.labels, *sides, points, draws).items():
            metrics[f"{name}_low"], metrics[f"{name}_high"] = interval(drawn)
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


def write_scores(path: Path, trials: Trials, scores: np.ndarray) -> None:
    """Lines `label enrol test score`, in the list's order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = trials.utterances
    with replacing(path) as draft, open(draft, "w", encoding="utf-8") as file:
        for label, enrol, test, score in zip(trials.labels, trials.enrol, trials.test, scores, strict=True):
            file.write(f"{label} {names[enrol]} {names[test]} {score:.6f}\n")


def append_test_metrics(path: Path, checkpoint: Path, source: str, rows: dict[str, dict[str, float]]) -> None:
    """Add a line a system to a table of results: when, which checkpoint, on what, and its metrics.

    Metrics that the table does not have yet become columns of it, which are empty in its older lines.
    """
    date = datetime.now().isoformat(timespec="seconds")
    place = {"date": date, "checkpoint": str(checkpoint), "trials": source}
    lines = [place | {"system": system} | metrics for system, metrics in rows.items()]
    columns = tuple(dict.fromkeys(name for line in lines for name in line))
    if path.is_file():
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            older, known = list(table), tuple(table.fieldnames or ())
        if known[:4] == columns[:4]:  # any other table is refused below
            columns = tuple(dict.fromkeys((*known, *columns)))
            if columns != known:
                write_rows(path, [columns, *([row.get(name, "") for name in columns] for row in older)])
    append_rows(path, columns, lines)
