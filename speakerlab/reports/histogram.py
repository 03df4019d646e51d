"""Histogram of target and non-target scores."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from speakerlab.reports.figure import COLOURS, new_figure
from speakerlab.scoring.metrics import checked_trials, eer, error_rates


def histogram_figure(scores: ArrayLike, labels: ArrayLike, threshold: float | None = None) -> Figure:
    """Shares of target and of non-target trials by score, with a threshold drawn as a line.

    Each class adds up to 100 %, since there are often a hundred times as many non-targets as targets.

    Args:
        scores: `(trials,)`.
        labels: `(trials,)`, 1 for the same speaker, 0 for different speakers.
        threshold: where to draw the line; by default the EER threshold of these trials.

    Raises:
        InputError: see `checked_trials`.
    """
    scores, is_target = checked_trials(scores, labels)
    name = "threshold"
    if threshold is None:
        threshold, name = eer(error_rates(scores, is_target))[1], "EER threshold"
    # Few bins for few trials: single trials should not look like a comb.
    bins = int(np.clip(2 * np.sqrt(len(scores)), 10, 80))
    edges = np.histogram_bin_edges(scores, bins)
    figure, (axes,) = new_figure(6.4, 4.0)
    for title, chosen, colour in (("non-target", ~is_target, COLOURS[1]), ("target", is_target, COLOURS[0])):
        counts, _ = np.histogram(scores[chosen], edges)
        share = 100 * counts / counts.sum()
        label = f"{title} ({counts.sum():,} trials)"
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(share, edges, color=colour, linewidth=1.4, label=label)
    axes.axvline(threshold, color="black", linewidth=1.2, linestyle="--", label=f"{name} {threshold:.4g}")
    axes.set(xlabel="score", ylabel="share of the class's trials per bin (%)")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure
