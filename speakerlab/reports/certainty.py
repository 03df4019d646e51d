"""How sure an identification is, how rightly, and of whom.

Guo, Pleiss, Sun, Weinberger: "On calibration of modern neural networks", ICML 2017 (reliability diagrams).
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from speakerlab.reports.figure import COLOURS, GREY, new_figure

BINS = 10


def reliability(probability: NDArray, right: NDArray, bins: int = BINS) -> tuple[NDArray, NDArray, NDArray]:
    """Mean probability, share of right guesses (NaN in empty bins) and utterances of each bin, `(bins,)` each.

    Args:
        probability: `(utterances,)` of the named speaker.
        right: `(utterances,)` whether it was the speaker.
        bins: of equal width from 0 to 1.
    """
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, weights=probability, minlength=bins) / count
        share = np.bincount(place, weights=right, minlength=bins) / count
    return mean, share, count


def calibration_error(probability: NDArray, right: NDArray, bins: int = BINS) -> float:
    """Expected calibration error: how far probabilities are from the shares of right guesses, by `reliability`.

    >>> round(calibration_error(np.array([0.9, 0.9, 0.6]), np.array([True, False, True])), 4)
    0.4
    """
    mean, share, count = reliability(probability, right, bins)
    filled = count > 0
    return float((np.abs(mean - share)[filled] * count[filled]).sum() / count.sum())


def certainty_figure(probability: NDArray, right: NDArray) -> Figure:
    """Reliability over the model's probability, and under it how often which probability is given; arguments as in
    `reliability`."""
    figure, (above, below) = new_figure(6.4, 5.6, rows=2)
    mean, share, count = reliability(probability, right)
    filled = count > 0
    above.plot([0, 1], [0, 100], color=GREY, linewidth=0.8, linestyle=(0, (4, 4)))
    above.plot(mean[filled], 100 * share[filled], color=COLOURS[0], marker="o", markersize=5, linewidth=1.4)
    above.set(ylabel="right (%)", ylim=(-3, 103), xlim=(0, 1))
    edges = np.linspace(0, 1, 2 * BINS + 1)
    counts = [np.histogram(probability[chosen], edges)[0] for chosen in (right, ~right)]
    below.stairs(counts[0], edges, fill=True, color=COLOURS[0], label=f"right ({right.sum():,})")
    below.stairs(
        counts[0] + counts[1],
        edges,
        baseline=counts[0],
        fill=True,
        color=COLOURS[1],
        label=f"wrong ({(~right).sum():,})",
    )
    below.set(xlabel="probability of the named speaker", ylabel="utterances", xlim=(0, 1))
    below.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def accuracy_figure(accuracy: NDArray) -> Figure:
    """Histogram of speakers by their own accuracy, `(speakers,)`; NaN are left out."""
    known = 100 * accuracy[np.isfinite(accuracy)]
    figure, (axes,) = new_figure(6.4, 3.6)
    axes.hist(known, bins=np.linspace(0, 100, 21), color=COLOURS[0], alpha=0.8, edgecolor="white")
    axes.axvline(known.mean(), color="black", linestyle="--", linewidth=1.2, label=f"mean: {known.mean():.2f} %")
    axes.axvline(
        np.median(known), color="black", linestyle=":", linewidth=1.6, label=f"median: {np.median(known):.2f} %"
    )
    axes.set(xlabel="accuracy of a speaker's utterances (%)", ylabel="speakers", xlim=(0, 100))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure
