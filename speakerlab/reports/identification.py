"""The report of an identification: how often the right speaker is named, how surely, and who is mixed up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speakerlab.data.trial_speakers import sample_rows
from speakerlab.reports.certainty import accuracy_figure, calibration_error, certainty_figure
from speakerlab.reports.confusion import confusion_counts, confusion_figure, confusions, most_confused
from speakerlab.reports.embedding_map import Sample, map_figure
from speakerlab.reports.events import PROJECTED_SPEAKERS, PROJECTED_UTTERANCES, write_events
from speakerlab.reports.figure import COLOURS, new_figure, save_figures
from speakerlab.reports.page import (
    drawing_section,
    facts_section,
    folded_section,
    results_section,
    table_section,
    write_report,
)
from speakerlab.scoring.identification import Guesses, cumulative_match, speaker_accuracy

RANKS = 20
SHOWN = 10  # mistakes, and speakers with the lowest accuracy
HEADINGS = {
    "match": "Cumulative match",
    "confusion": "Most confused speakers",
    "speakers": "Accuracy by speaker",
    "certainty": "How sure, and how rightly",
    "map": "Map of embeddings",
}
CAPTIONS = {
    "match": "How often the right speaker is among the first k that are named.",
    "confusion": "Rows speak, columns are named; colours are shares of the row's utterances, numbers count them.",
    "speakers": "Each speaker counts once, however many utterances there are.",
    "certainty": "Above: the share that is right of utterances of like probability; on the dashed line, probabilities "
    "are what they say. Below: how often each is given.",
    "map": "t-SNE of embeddings by cosine, a point an utterance: what matters is who is near, not how far others are.",
}


@dataclass(frozen=True, eq=False)
class Identification:
    """What an identification has found.

    Attributes:
        name: of what was identified, for files' names.
        metrics: system -> metric -> value; `x_low` and `x_high` are the ends of the interval of `x`.
        classes: `(utterances,)` who speaks.
        guesses: whom the first system names.
        speakers: names of all that the model knows, in class order.
        embeddings: `(utterances, dim)`; None where there are none.
        facts, texts, step: as in `speakerlab.reports.evaluation.Verification`.
    """

    name: str
    metrics: Mapping[str, Mapping[str, float]]
    classes: NDArray
    guesses: Guesses
    speakers: Sequence[str]
    embeddings: NDArray | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    step: int = 0

    @property
    def right(self) -> NDArray[np.bool_]:
        """`(utterances,)` whether the named speaker is the one who speaks."""
        return self.guesses.rank == 1


def match_figure(rank: np.ndarray, speakers: int) -> Figure:
    """Cumulative match curve: the share of utterances whose speaker is among the first k, and chance."""
    most = min(RANKS, speakers)
    first = np.arange(1, most + 1)
    figure, (axes,) = new_figure(6.4, 4.0)
    axes.plot(first, 100 * cumulative_match(rank, most), color=COLOURS[0], marker="o", markersize=3.5, label="model")
    axes.plot(first, 100 * first / speakers, color="black", linewidth=1.0, linestyle="--", label="chance")
    axes.set(xlabel="first k speakers", ylabel="right speaker among them (%)", ylim=(0, 102))
    axes.set_xticks([k for k in (1, 5, 10, 15, 20) if k <= most])
    axes.legend(frameon=False, fontsize=9)
    return figure


def identification_report(folder: Path, title: str, found: Identification) -> Path:
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
    shown = {kind: drawing_section(HEADINGS[kind], svg, CAPTIONS[kind]) for kind, svg in drawn.items()}
    first, error = next(iter(found.metrics)), calibration_error(found.guesses.probability, found.right)
    metrics = {**found.metrics, first: {**found.metrics[first], "calibration_error": error}}
    return write_report(
        folder / f"evaluation_{found.name}",
        title,
        results_section(f"Identification among {len(found.speakers):,} speakers", metrics),
        shown["match"],
        shown.get("confusion", ""),
        _mistakes(found),
        shown["speakers"],
        _hardest(found),
        shown["certainty"],
        shown.get("map", ""),
        *([facts_section("Evaluation", found.facts)] if found.facts else []),
        *(folded_section(heading, text) for heading, text in found.texts.items()),
        subtitle=found.name,
    )


def _figures(found: Identification) -> dict[str, Figure]:
    """Each figure that there is something to draw for."""
    confused = most_confused(found.classes, found.guesses.predicted)
    accuracy = speaker_accuracy(found.right, found.classes, len(found.speakers))
    figures = {
        "match": match_figure(found.guesses.rank, len(found.speakers)),
        "speakers": accuracy_figure(accuracy),
        "certainty": certainty_figure(found.guesses.probability, found.right),
    }
    if len(confused):
        counts = confusion_counts(found.classes, found.guesses.predicted, confused)
        figures["confusion"] = confusion_figure(counts, [found.speakers[number] for number in confused])
    sample = _sample(found)
    drawn = None if sample is None else map_figure(sample)
    return figures if drawn is None else {**figures, "map": drawn}


def _sample(found: Identification, *most: int) -> Sample | None:
    """Utterances for a map; see `sample_rows`."""
    if found.embeddings is None:
        return None
    rows = sample_rows(found.classes, *most)
    return Sample(found.embeddings[rows], np.array([found.speakers[number] for number in found.classes[rows]]))


def _mistakes(found: Identification) -> str:
    """A table of who is taken for whom, the most frequent mistakes first."""
    mistakes = confusions(found.classes, found.guesses.predicted, found.speakers, SHOWN)
    rows = {f"{speaker} taken for {other}": {"times": f"{times:,}"} for speaker, other, times in mistakes}
    return table_section("Most frequent mistakes", rows, "" if rows else "Every utterance was identified.")


def _hardest(found: Identification) -> str:
    """A table of the speakers with the lowest accuracy, the one with the most mistakes first among equals."""
    accuracy = speaker_accuracy(found.right, found.classes, len(found.speakers))
    count = np.bincount(found.classes, minlength=len(found.speakers))
    order = np.lexsort((-count, accuracy))[:SHOWN]  # NaN comes last
    rows = {
        found.speakers[number]: {"accuracy (%)": f"{100 * accuracy[number]:.2f}", "utterances": f"{count[number]:,}"}
        for number in order
        if accuracy[number] < 1
    }
    return table_section("Speakers with the lowest accuracy", rows) if rows else ""
