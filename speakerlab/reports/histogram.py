"""Histogram of target and non-target scores."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from speakerlab.reports.figure import COLOURS, new_figure
from speakerlab.scoring.metrics import ErrorRates, checked_trials, eer, error_rates, min_dcf

LINE_STYLES = ("--", ":", "-.", (0, (1, 3)))


def thresholds_of(rates: ErrorRates) -> dict[str, float]:
    """The thresholds that a list has by itself: at the EER, and where each minDCF lies."""
    return {"EER": eer(rates)[1]} | {f"minDCF, p = {p:g}": min_dcf(rates, p)[1] for p in (0.01, 0.05)}


def histogram_figure(scores: ArrayLike, labels: ArrayLike, thresholds: Mapping[str, float] | None = None) -> Figure:
    """Shares of target and of non-target trials by score, with thresholds drawn as lines.

    Each class adds up to 100 %, since there are often a hundred times as many non-targets as targets.

    Args:
        scores: `(trials,)`.
        labels: `(trials,)`, 1 for the same speaker, 0 for different speakers.
        thresholds: name -> score; by default those of `thresholds_of`.

    Raises:
        InputError: see `checked_trials`.
    """
    scores, is_target = checked_trials(scores, labels)
    if thresholds is None:
        thresholds = thresholds_of(error_rates(scores, is_target))
    # Few bins for few trials: single trials should not look like a comb.
    bins = int(np.clip(2 * np.sqrt(len(scores)), 10, 80))
    edges = np.histogram_bin_edges(scores, bins)
    figure, (axes,) = new_figure(6.4, 4.2)
    for title, chosen, colour in (("non-target", ~is_target, COLOURS[1]), ("target", is_target, COLOURS[0])):
        counts, _ = np.histogram(scores[chosen], edges)
        share = 100 * counts / counts.sum()
        label = f"{title} ({counts.sum():,} trials)"
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(share, edges, color=colour, linewidth=1.4, label=label)
    for style, (name, threshold) in zip(LINE_STYLES, thresholds.items()):
        axes.axvline(threshold, color="black", linewidth=1.2, linestyle=style, label=f"{name}: {threshold:.4g}")
    axes.set(xlabel="score", ylabel="share of the class's trials per bin (%)")
    figure.legend(loc="outside lower center", ncols=3 if len(thresholds) == 1 else 2, frameon=False, fontsize=9)
    return figure
