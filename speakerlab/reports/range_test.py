"""Figure of a learning-rate range test."""

from pathlib import Path

from speakerlab.reports.figure import COLOURS, new_figure, save_figure


def draw_range_test(rates: list[float], losses: list[float], suggested: float, stem: Path) -> Path:
    """Write `stem.png` and `stem.svg`: the smoothed loss over the rate, the suggested rate marked. Returns the PNG."""
    figure, (axes,) = new_figure(6.0, 4.0)
    axes.plot(rates, losses, color=COLOURS[0])
    axes.axvline(suggested, color=COLOURS[1], linestyle="--", label=f"steepest at {suggested:.2g}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss (smoothed)")
    axes.legend(frameon=False)
    return save_figure(figure, stem)[0]
