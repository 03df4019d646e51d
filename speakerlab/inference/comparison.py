"""Several systems on a list that all were scored on: metrics with intervals, and which of them differ."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speakerlab.data import Progress
from speakerlab.data.score_files import ScoreFile
from speakerlab.data.trial_speakers import check_speakers, speakers_by_targets
from speakerlab.inference.evaluation import FEWEST_SPEAKERS
from speakerlab.inference.runs import TRIALS, Predictions, Shared
from speakerlab.scoring.bootstrap import bootstrap_metrics, interval
from speakerlab.scoring.comparison import Compared, Drawn, pairs_of
from speakerlab.scoring.identification import ranked_metrics
from speakerlab.scoring.identification_bootstrap import bootstrap_identification
from speakerlab.scoring.metrics import error_rates
from speakerlab.scoring.trial_metrics import trial_metrics

Measure = Callable[[Any, NDArray[np.int64], int], tuple[dict[str, float], Drawn]]


def compare(shared: Shared, labels: Sequence[str], draws: int, progress: Progress) -> Compared:
    """All systems on one list.

    Args:
        shared: the list and what each system made of it.
        labels: of the systems.
        draws: of the bootstrap over speakers.
        progress: called with (systems done, systems).
    """
    measure, speakers, counts = _of_trials(shared) if shared.kind == TRIALS else _of_utterances(shared)
    draws = draws if speakers >= FEWEST_SPEAKERS else 0
    metrics, drawn = {}, {}
    for done, (label, scored, rows) in enumerate(zip(labels, shared.scored, shared.rows, strict=True)):
        progress(done, len(labels))
        metrics[label], drawn[label] = measure(scored, rows, draws)
        for name, values in drawn[label].items():
            metrics[label][f"{name}_low"], metrics[label][f"{name}_high"] = interval(values)
    progress(len(labels), len(labels))
    curves = {}
    if shared.kind == TRIALS:
        targets = shared.scored[0].trials().labels
        pairs = zip(labels, shared.scored, shared.rows, strict=True)
        curves = {label: error_rates(scored.scores[rows], targets) for label, scored, rows in pairs}
    return Compared(shared.name, shared.kind, counts, metrics, pairs_of(metrics, drawn), draws, curves)


def _of_trials(shared: Shared) -> tuple[Measure, int, str]:
    """What measures a system on these trials, their speakers and their counts in words."""
    trials = shared.scored[0].trials()
    check_speakers(trials)
    speakers = speakers_by_targets(trials)
    sides = speakers[trials.enrol], speakers[trials.test]

    def measure(scored: ScoreFile, rows: NDArray[np.int64], draws: int) -> tuple[dict[str, float], Drawn]:
        scores = scored.scores[rows]
        metrics = trial_metrics(scores, trials.labels, llrs=None if scored.llrs is None else scored.llrs[rows])
        return metrics, bootstrap_metrics(scores, trials.labels, *sides, draws=draws) if draws else {}

    targets = int(np.count_nonzero(trials.labels))
    count = len(np.unique(sides[0][trials.labels == 1]))
    return measure, count, f"{targets:,} target and {len(trials) - targets:,} non-target trials of {count:,} speakers"


def _of_utterances(shared: Shared) -> tuple[Measure, int, str]:
    """What measures a system on these utterances, their speakers and their counts in words."""
    numbers = shared.scored[0].speakers  # those of the first: one speaker has one number, so that draws are the same

    def measure(scored: Predictions, rows: NDArray[np.int64], draws: int) -> tuple[dict[str, float], Drawn]:
        predicted, rank = _renumbered(scored.predicted[rows], scored.speakers[rows], numbers), scored.rank[rows]
        metrics, drawn = ranked_metrics(predicted, rank, numbers), {}
        if draws:
            first = bootstrap_identification(rank == 1, predicted, numbers, draws=draws)
            among_five = bootstrap_identification(rank <= 5, predicted, numbers, draws=draws)  # the same draws
            drawn = {"accuracy": first["accuracy"], "top5_accuracy": among_five["accuracy"]}
            drawn["macro_f1"] = first["macro_f1"]
        return metrics, drawn

    count = len(np.unique(numbers))
    return measure, count, f"{len(numbers):,} utterances of {count:,} speakers"


def _renumbered(predicted: NDArray[np.int64], speakers: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray:
    """Predicted classes `(utterances,)` under the numbers that the utterances' speakers have in `wanted`."""
    table = np.full(max(predicted.max(), speakers.max()) + 1, -1)
    table[speakers] = wanted
    strangers = np.flatnonzero(table < 0)  # who are named and never speak
    table[strangers] = wanted.max() + 1 + np.arange(len(strangers))
    return table[predicted]
