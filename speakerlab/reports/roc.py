"""Receiver operating characteristic: the share of targets that are accepted, over the share of false alarms.

Fawcett: "An introduction to ROC analysis", Pattern Recognition Letters, 2006. False alarms are on a logarithmic axis,
since speaker verification is used where they are rare.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from speakerlab import InputError
from speakerlab.reports.det import MARKERS, curves_legend, line_look
from speakerlab.reports.figure import GREY, new_figure, thinned
from speakerlab.scoring.calibration_metrics import area_under_roc, miss_at_false_alarm
from speakerlab.scoring.metrics import ErrorRates, eer

LOWEST_LIMIT = 1e-5  # of false alarms
CELL = 0.002  # of a decade, and of the accepted targets' whole range: finer than a pixel


def roc_figure(curves: dict[str, ErrorRates], points: Sequence[float] = (0.01, 0.001)) -> Figure:
    """ROC of one or more systems, with their areas under the curve, EERs and rates at given false alarms.

    Args:
        curves: name -> error rates, drawn in this order.
        points: shares of false alarms at which the accepted targets are marked.

    Raises:
        InputError: if there is no curve, or more points than markers.
    """
    if not curves:
        raise InputError("a ROC needs at least one curve")
    if len(points) >= len(MARKERS):
        raise InputError(f"a ROC marks at most {len(MARKERS) - 1} rates of false alarms, not {len(points)}")
    low = lowest_false_alarm(list(curves.values()))
    figure, (axes,) = new_figure(6.4, 5.2)
    chance = np.geomspace(low, 1.0, 200)
    axes.plot(chance, 100 * chance, color=GREY, linewidth=0.8, linestyle=(0, (4, 4)), zorder=1)
    names, least = [], 1.0
    for number, (name, rates) in enumerate(curves.items()):
        colour, style = line_look(number)
        label = f"{name}  (area {100 * area_under_roc(rates):.2f} %)"
        x, y = roc_line(rates, low)
        names += axes.plot(x, 100 * y, style, color=colour, linewidth=1.8, label=label)
        least = min(least, float(y.min()))
        rate, _ = eer(rates)
        marked = [(rate, 1 - rate)] + [(point, 1 - miss_at_false_alarm(rates, point)) for point in points]
        for marker, (false_alarm, accepted) in zip(MARKERS, marked):
            if false_alarm >= low:
                size = MARKERS[marker]
                place = (false_alarm, 100 * accepted, marker)
                axes.plot(*place, color=colour, markersize=size, markeredgecolor="white", clip_on=False, zorder=5)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g}"))
    axes.set(xlim=(low, 1.0), ylim=(100 * np.floor(10 * least) / 10, 100.5))
    axes.set(xlabel="false alarm rate (%)", ylabel="accepted targets (%)")
    shown = [point for point in points if point >= low]
    curves_legend(figure, names, ["EER"] + [f"at {100 * point:g} % false alarms" for point in shown])
    return figure


def lowest_false_alarm(curves: list[ErrorRates]) -> float:
    """Where the axis of false alarms starts: with a whole power of ten, near the rate of a single one."""
    smallest = min(rates.false_alarm[rates.false_alarm > 0].min() for rates in curves)
    return float(10 ** np.floor(np.log10(np.clip(smallest, LOWEST_LIMIT, 0.05)) + 1e-9))


def roc_line(rates: ErrorRates, low: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False alarms, those below `low` drawn there, and accepted targets, `(vertices,)` each, without vertices that
    nobody could see."""
    line = np.stack((np.log10(np.maximum(rates.false_alarm, low)), 1.0 - rates.miss))
    x, y = thinned(line, CELL)
    return 10**x, y
