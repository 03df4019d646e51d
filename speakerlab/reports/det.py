"""Detection error trade-off plot.

Martin, Doddington, Kamm, Ordowski, Przybocki: "The DET curve in assessment of detection task performance",
Eurospeech 1997. Both axes are probits (normal quantiles), on which normally distributed scores give a straight line.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from speakerlab import InputError
from speakerlab.reports.figure import COLOURS, GREY, new_figure, thinned
from speakerlab.scoring.metrics import ErrorRates, eer, min_dcf_point

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
WIDE_TICKS = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)
LOWEST_LIMIT = 0.0005
OUTSIDE = 1e-6  # rates of 0 and 1 have infinite probits; this is beyond every limit of the axes
CELL = 0.002  # in probits, finer than a pixel
LINE_STYLES = ("-", "--", ":", "-.")  # another one after each round of colours
MARKERS = {"o": 11.0, "s": 8.0, "^": 6.5, "D": 5.0, "v": 5.0}  # -> size; smaller ones lie on larger ones


def det_figure(curves: dict[str, ErrorRates], points: Sequence[float] = (0.01, 0.05)) -> Figure:
    """DET plot of one or more systems, with their EERs and their cheapest operating points.

    Marked points outside the plot, such as one without any false alarm, are drawn on its edge.

    Args:
        curves: name -> error rates, drawn in this order.
        points: target priors; where minDCF lies for each of them is marked.

    Raises:
        InputError: if there is no curve, or more priors than markers.
    """
    if not curves:
        raise InputError("a DET plot needs at least one curve")
    if len(points) >= len(MARKERS):
        raise InputError(f"a DET plot marks at most {len(MARKERS) - 1} target priors, not {len(points)}")
    limits = det_limits(curves.values())
    figure, (axes,) = new_figure(6.4, 6.4)
    _draw_axes(axes, *limits)
    names = []
    for number, (name, rates) in enumerate(curves.items()):
        colour, style = line_look(number)
        rate, _ = eer(rates)
        label = f"{name}  (EER {100 * rate:.2f} %)"
        names += axes.plot(*det_line(rates), style, color=colour, linewidth=1.8, label=label)
        marked = [(rate, rate)] + [min_dcf_point(rates, p_target) for p_target in points]
        for marker, (miss, false_alarm) in zip(MARKERS, marked):
            _mark(axes, marker, colour, probit(false_alarm, *limits), probit(miss, *limits))
    curves_legend(figure, names, ["EER"] + [f"minDCF, p = {p_target:g}" for p_target in points])
    return figure


def line_look(number: int) -> tuple[str, str]:
    """Colour and line style of the system of this number, the same in every plot of curves."""
    return COLOURS[number % len(COLOURS)], LINE_STYLES[number // len(COLOURS) % len(LINE_STYLES)]


def det_line(rates: ErrorRates) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probits of false alarm and miss, `(vertices,)` each; vertices within `CELL` of their neighbours are left out."""
    line = np.stack((probit(rates.false_alarm, OUTSIDE, 1 - OUTSIDE), probit(rates.miss, OUTSIDE, 1 - OUTSIDE)))
    x, y = thinned(line, CELL)
    return x, y


def probit(rate: ArrayLike, low: float, high: float) -> NDArray[np.float64]:
    """Normal quantile of rates that are clipped to `[low, high]` first."""
    return ndtri(np.clip(rate, low, high))


def det_limits(curves: Iterable[ErrorRates]) -> tuple[float, float]:
    """Smallest and largest rate of the plot's axes.

    Small lists get no empty decades: nothing lies between 0 and one error. And the upper half is shown only where an
    EER comes near it.
    """
    curves = list(curves)
    columns = [column for rates in curves for column in (rates.miss, rates.false_alarm)]
    smallest = min(column[column > 0].min() for column in columns)
    low = float(np.clip(0.6 * smallest, LOWEST_LIMIT, 0.05))
    worst = max(eer(rates)[0] for rates in curves)
    return low, (0.6 if worst < 0.35 else 1 - low)


def _draw_axes(axes: Axes, low: float, high: float) -> None:
    ticks = [tick for tick in (TICKS if high == 0.6 else WIDE_TICKS) if low <= tick <= high]
    labels = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xticks(ndtri(ticks), labels)
    axes.set_yticks(ndtri(ticks), labels)
    edges = ndtri([low, high])
    axes.set(xlim=edges, ylim=edges, aspect="equal", xlabel="false alarm rate (%)", ylabel="miss rate (%)")
    axes.plot(edges, edges, color=GREY, linewidth=0.8, linestyle=(0, (4, 4)), zorder=1)


def _mark(axes: Axes, marker: str, colour: str, x: float, y: float) -> None:
    # White rims keep overlapping markers apart; unclipped, a marker on the edge stays whole.
    axes.plot(x, y, marker, color=colour, markersize=MARKERS[marker], markeredgecolor="white", clip_on=False, zorder=5)


def curves_legend(figure: Figure, names: list[Line2D], marked: list[str]) -> None:
    """Curves on the left, markers on the right, under the plot: inside it, no corner is free for every curve."""
    marks = [Line2D([], [], linestyle="", marker=m, color=GREY, markersize=7, label=n) for m, n in zip(MARKERS, marked)]
    blank = Line2D([], [], linestyle="", label=" ")
    rows = max(len(names), len(marks))
    handles = names + [blank] * (rows - len(names)) + marks + [blank] * (rows - len(marks))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
