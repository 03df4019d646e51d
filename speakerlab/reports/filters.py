"""What filters on the waveform have learned, in frequency against the mel scale they began at.

After figures 2 to 4 of Ravanelli, Bengio: "Speaker Recognition from Raw Waveform with SincNet", SLT 2018.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from speakerlab import InputError
from speakerlab.encoders.layers.sinc import SincBands
from speakerlab.reports.figure import COLOURS, GREY, new_figure, save_figure
from speakerlab.reports.page import facts_section, figure_section, write_report

POINTS = 4096  # of the transform of an impulse response
LOWEST_DB = -40.0
TICKS = (100, 250, 500, 1000, 2000, 4000, 8000)


def sinc_bands(network: nn.Module) -> SincBands:
    """The filters of a network that learns band edges.

    Raises:
        InputError: if it has none.
    """
    for module in network.modules():
        if isinstance(module, SincBands):
            return module
    encoder = type(getattr(network, "encoder", network)).__name__
    raise InputError(f"there are no filters to draw: {encoder} learns no band edges, as model=sincnet and rawnet3 do")


@dataclass(frozen=True, eq=False)
class Bank:
    """Filters: lower and upper edges `(filters,)` in hertz, magnitudes `(filters, frequencies)`."""

    low: NDArray
    high: NDArray
    response: NDArray

    @property
    def order(self) -> NDArray:
        """By the centres of the bands."""
        return np.argsort(self.low + self.high, kind="stable")


def bank(bands: SincBands) -> Bank:
    """What the filters do at `POINTS / 2 + 1` frequencies."""
    with torch.no_grad():
        low, high, taps = (tensor.cpu().double().numpy() for tensor in (*bands.edges(), bands.even()))
    return Bank(low, high, np.abs(np.fft.rfft(taps, POINTS)))


def write_filters(folder: Path, title: str, bands: SincBands, facts: Mapping[str, object]) -> Path:
    """Write `report.html`, `filters.png` and `filters.svg`; returns the page."""
    figure = filters_figure(bands)
    save_figure(figure, folder / "filters")
    start, learned = bank(_fresh(bands)), bank(bands)
    moved = np.abs(np.concatenate([learned.low - start.low, learned.high - start.high]))
    words = {
        "filters": f"{len(learned.low)} of {bands.taps} taps at {bands.sample_rate:,} Hz",
        "edges moved by": f"{np.median(moved):.1f} Hz (median), {moved.max():.1f} Hz (at most)",
    }
    return write_report(
        folder, title, facts_section("What this is", {**facts, **words}), figure_section("Filters", figure)
    )


def filters_figure(bands: SincBands) -> Figure:
    """Responses of all filters, as they began and as they are; their bands; and what they hear together."""
    start, learned = bank(_fresh(bands)), bank(bands)
    frequency = np.fft.rfftfreq(POINTS, 1 / bands.sample_rate)
    figure, (before, after, edges, together) = new_figure(11.0, 7.6, rows=2, columns=2)
    for axes, one, title in ((before, start, "at the start"), (after, learned, "learned")):
        _draw_responses(axes, frequency, one)
        axes.set_title(f"responses of {len(one.low)} filters, {title}", fontsize=10, loc="left")
    _draw_bands(edges, start, learned)
    _draw_sum(together, frequency, start, learned)
    for axes in (before, after, together):
        _mel_axis(axes, bands.sample_rate)
    for axes in (before, after, edges, together):
        axes.tick_params(labelsize=8)
    return figure


def _fresh(bands: SincBands) -> SincBands:
    """The same filters before training: their edges are no random numbers."""
    return SincBands(len(bands.low), bands.taps, bands.sample_rate)


def mel(hertz: NDArray) -> NDArray:
    """O'Shaughnessy's mel scale."""
    return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)


def cumulative(response: NDArray) -> NDArray:
    """Sum of the filters' responses, each by its own maximum, as a share of the sum's: `(filters, frequencies) ->
    (frequencies,)`."""
    total = (response / response.max(axis=1, keepdims=True)).sum(axis=0)
    return total / total.max()


def _draw_responses(axes: Axes, frequency: NDArray, one: Bank) -> None:
    """Each filter in decibels below its own maximum; neighbours differ in colour."""
    decibels = 20 * np.log10(np.maximum(one.response / one.response.max(axis=1, keepdims=True), 10 ** (LOWEST_DB / 20)))
    for rank, number in enumerate(one.order):
        axes.plot(mel(frequency), decibels[number], color=COLOURS[rank % 6], linewidth=0.7)
    axes.set_ylim(LOWEST_DB, 1.0)
    axes.set_ylabel("dB", fontsize=9)


def _draw_bands(axes: Axes, start: Bank, learned: Bank) -> None:
    """The band of each filter, in the order of their centres at the start."""
    order = start.order
    number = np.arange(1, len(order) + 1)
    for one, colour, name, offset in ((start, GREY, "at the start", -0.2), (learned, COLOURS[0], "learned", 0.2)):
        axes.vlines(number + offset, mel(one.low[order]), mel(one.high[order]), color=colour, linewidth=1.6, label=name)
    axes.set_xlabel("filter", fontsize=9)
    axes.set_xlim(0, len(order) + 1)
    axes.set_title("bands", fontsize=10, loc="left")
    axes.set_ylabel("Hz, on the mel scale", fontsize=9)
    axes.set_yticks(mel(np.array(TICKS)), [f"{tick:,}" for tick in TICKS])
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _draw_sum(axes: Axes, frequency: NDArray, start: Bank, learned: Bank) -> None:
    for one, colour, name in ((start, GREY, "at the start"), (learned, COLOURS[0], "learned")):
        axes.plot(mel(frequency), cumulative(one.response), color=colour, linewidth=1.5, label=name)
    axes.set_ylim(0.0, 1.05)
    axes.set_title("cumulative response", fontsize=10, loc="left")
    axes.set_ylabel("share of the maximum", fontsize=9)
    axes.legend(frameon=False, fontsize=8)


def _mel_axis(axes: Axes, sample_rate: int) -> None:
    ticks = [tick for tick in TICKS if tick <= sample_rate / 2]
    axes.set_xticks(mel(np.array(ticks)), [f"{tick:,}" for tick in ticks])
    axes.set_xlim(0.0, mel(sample_rate / 2))
    axes.set_xlabel("Hz, on the mel scale", fontsize=9)
