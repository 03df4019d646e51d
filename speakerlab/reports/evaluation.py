"""The report of a trial list: how good the model is, where it fails and what its embeddings look like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speakerlab.data.trial_speakers import sample_rows, speaker_names, speakers_by_targets
from speakerlab.data.trials import Trials
from speakerlab.reports.attention import Heard, attention_figure
from speakerlab.reports.conditions import conditions_figure, conditions_rows
from speakerlab.reports.det import det_figure
from speakerlab.reports.embedding_map import Sample, map_figure
from speakerlab.reports.events import PROJECTED_SPEAKERS, PROJECTED_UTTERANCES, write_events
from speakerlab.reports.figure import save_figure, save_figures
from speakerlab.reports.histogram import histogram_figure
from speakerlab.reports.page import (
    drawing_section,
    facts_section,
    folded_section,
    pictures_section,
    results_section,
    table_section,
    write_report,
)
from speakerlab.reports.roc import roc_figure
from speakerlab.reports.worst_trials import worst_section, worst_trials
from speakerlab.scoring.conditions import ConditionResult
from speakerlab.scoring.metrics import error_rates

CAPTIONS = {
    "det": "Detection error trade-off: misses against false alarms at every threshold, on probit axes; the lower left "
    "is better.",
    "roc": "Receiver operating characteristic: accepted targets against false alarms; the upper left is better.",
    "scores": "Scores of the trials; each class adds up to 100 %. Lines are thresholds of these very trials.",
    "conditions": "EER of parts of the list, each with a threshold of its own; trials: targets + non-targets.",
    "attention": "Above: the mel spectrogram, and how much each moment counts on average. Below: each weighting of the "
    "pooling, as multiples of what every frame has in an average over time.",
    "map": "t-SNE of embeddings by cosine, a point an utterance: what matters is who is near, not how far others are.",
}


@dataclass(frozen=True, eq=False)
class Verification:
    """What an evaluation on trials has found.

    Attributes:
        name: of the trial list, for files' names.
        trials: the list.
        scores: system -> `(trials,)`; the first is the model.
        metrics: system -> metric -> value; `x_low` and `x_high` are the ends of the interval of `x`.
        embeddings: `(utterances, dim)` of the model; None where there are none.
        files: audio of each utterance; empty where it is unknown.
        conditions: kind -> condition -> results of the model.
        heard: utterances with the model's attention.
        facts: of the evaluation: checkpoint, device, versions.
        texts: heading -> long text, such as configurations; folded.
        step: of the model, on TensorBoard's axis.
    """

    name: str
    trials: Trials
    scores: Mapping[str, NDArray]
    metrics: Mapping[str, Mapping[str, float]]
    embeddings: NDArray | None = None
    files: Sequence[Path] = ()
    conditions: Mapping[str, Mapping[str, ConditionResult]] = field(default_factory=dict)
    heard: Sequence[Heard] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    step: int = 0

    @property
    def model(self) -> str:
        """The first system's name."""
        return next(iter(self.scores))

    @cached_property
    def speakers(self) -> NDArray[np.int32]:
        """`(utterances,)` a number each."""
        return speakers_by_targets(self.trials)

    @property
    def threshold(self) -> float:
        """The model's, at its EER."""
        return self.metrics[self.model]["threshold"]


def verification_report(folder: Path, title: str, found: Verification) -> Path:
    """Write `evaluation_<name>/report.html`, the figures as PNG and SVG under `plots/` and as TensorBoard events under
    `tensorboard/evaluation_<name>/`; returns the page.

    Args:
        folder: of the run.
        title: of the page.
        found: what there is to tell.
    """
    figures = _figures(found)
    drawn = save_figures(folder / "plots", figures, found.name)
    write_events(
        folder / "tensorboard" / f"evaluation_{found.name}",
        {f"evaluation/{kind}": figure for kind, figure in figures.items()},
        _sample(found, PROJECTED_SPEAKERS, PROJECTED_UTTERANCES),
        found.step,
    )
    shown = {kind: drawing_section(_heading(kind), svg, CAPTIONS[kind]) for kind, svg in drawn.items()}
    sections = [results_section("Results", found.metrics), *(shown[kind] for kind in ("det", "roc", "scores"))]
    if found.conditions:
        rows = conditions_rows(found.conditions)
        note = f"False rejects and accepts at {found.threshold:.4g}, the threshold at the EER of the whole list."
        sections += [shown.get("conditions", ""), table_section("Conditions in numbers", rows, note)]
    sections += [*_worst(found), shown.get("map", ""), *_attention(folder, found)]
    sections += [facts_section("Evaluation", found.facts)] if found.facts else []
    sections += [folded_section(heading, text) for heading, text in found.texts.items()]
    return write_report(folder / f"evaluation_{found.name}", title, *sections, subtitle=found.name)


def _heading(kind: str) -> str:
    names = {"det": "Detection error trade-off", "roc": "ROC", "scores": "Scores", "map": "Map of embeddings"}
    return names.get(kind, "EER by condition")


def _figures(found: Verification) -> dict[str, Figure]:
    """Each figure that there is something to draw for."""
    rates = {system: error_rates(scores, found.trials.labels) for system, scores in found.scores.items()}
    scores = found.scores[found.model]
    sample = _sample(found)
    figures = {
        "det": det_figure(rates),
        "roc": roc_figure(rates),
        "scores": histogram_figure(scores, found.trials.labels),
        "conditions": conditions_figure(found.conditions, found.metrics[found.model]["eer"]),
        "map": None if sample is None else map_figure(sample),
    }
    return {kind: figure for kind, figure in figures.items() if figure is not None}


def _sample(found: Verification, *most: int) -> Sample | None:
    """Utterances for a map; see `sample_rows`."""
    if found.embeddings is None:
        return None
    rows = sample_rows(found.speakers, *most)
    return Sample(found.embeddings[rows], speaker_names(found.trials.utterances, found.speakers)[rows])


def _worst(found: Verification) -> list[str]:
    scores = found.scores[found.model]
    accepts, rejects = worst_trials(scores, found.trials.labels, found.threshold)
    none = "There is none at the threshold of the EER."
    return [
        worst_section("Worst false accepts", none, found.trials, scores, accepts, found.files),
        worst_section("Worst false rejects", none, found.trials, scores, rejects, found.files),
    ]


def _attention(folder: Path, found: Verification) -> list[str]:
    """A picture of each utterance that was listened to with the model's attention."""
    pictures = []
    for number, heard in enumerate(found.heard, start=1):
        figure = attention_figure(heard.name, heard.spectrogram, heard.relative, heard.seconds)
        save_figure(figure, folder / "plots" / f"attention_{found.name}_{number}")
        pictures.append(figure)
    return [pictures_section("Attention to mistakes", pictures, CAPTIONS["attention"])] if pictures else []
