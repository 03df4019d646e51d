"""What a network's pooling listens to: attention over the mel spectrogram of an utterance."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from speakerlab.reports.figure import new_figure
from speakerlab.reports.listen import write_sound
from speakerlab.reports.page import facts_section, media_section, write_report

FEW = 32  # weightings that are numbered one by one
LINE = "#00e5ff"  # seen on every colour of the spectrogram


@dataclass(frozen=True, eq=False)
class Heard:
    """One utterance on the page.

    Attributes:
        name: of its file.
        waveform: `(samples,)`.
        spectrogram: `(frames, bands)` in dB.
        relative: `(weightings, frames)`, multiples of the weights of an average over time.
        seconds: that spectrogram and attention last.
    """

    name: str
    waveform: NDArray
    spectrogram: NDArray
    relative: NDArray
    seconds: float


def write_attention(
    folder: Path, title: str, utterances: list[Heard], sample_rate: int, facts: Mapping[str, object]
) -> Path:
    """Write `report.html`, and `01.wav` and `01.png` for each utterance; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = [facts_section("What this is", facts)]
    for number, heard in enumerate(utterances, start=1):
        stem = f"{number:02d}"
        figure = attention_figure(heard.name, heard.spectrogram, heard.relative, heard.seconds)
        figure.savefig(folder / f"{stem}.png", dpi=130)
        write_sound(folder / f"{stem}.wav", heard.waveform, sample_rate)
        strongest = heard.relative.mean(axis=0)
        words = {
            "lasts": f"{heard.seconds:.2f} s, {heard.relative.shape[1]} frames of the pooling",
            "strongest": f"{strongest.max():.2f} times the average's weight, "
            f"at {(strongest.argmax() + 0.5) * heard.seconds / len(strongest):.2f} s",
            "half of the attention": f"lies on {100 * share_of_half(strongest):.0f} % of the frames",
        }
        sections.append(media_section(f"{number}. {heard.name}", words, {"utterance": f"{stem}.wav"}, f"{stem}.png"))
    return write_report(folder, title, *sections)


def share_of_half(weights: NDArray) -> float:
    """The smallest share of the frames that has half of the weight; 0.5 where all count the same.

    >>> share_of_half(np.array([1.0, 1.0, 1.0, 1.0])), share_of_half(np.array([6.0, 1.0, 1.0, 0.0]))
    (0.5, 0.25)
    """
    sums = np.cumsum(np.sort(weights)[::-1])
    return float(1 + np.searchsorted(sums, 0.5 * sums[-1] * (1 - 1e-9))) / len(weights)


def attention_figure(title: str, spectrogram: NDArray, relative: NDArray, seconds: float) -> Figure:
    """The log-mel spectrogram with the mean attention over it, and below it, where there are several, the attention of
    each weighting; the arguments are as in `Heard`."""
    rows = 1 if len(relative) == 1 else 2
    figure, panels = new_figure(9.0, 2.6 * rows, rows=rows)
    # Single extremes, such as digital silence, would leave no contrast for the rest.
    low, high = np.percentile(spectrogram, (1, 99))
    extent = (0.0, seconds, 0.0, float(spectrogram.shape[1]))
    shown = {"aspect": "auto", "origin": "lower"}
    panels[0].imshow(spectrogram.T, cmap="magma", vmin=low, vmax=high, extent=extent, interpolation="nearest", **shown)
    panels[0].set_ylabel("mel band", fontsize=9)
    panels[0].set_title(title, fontsize=10, loc="left")
    _draw_mean(panels[0], relative.mean(axis=0), seconds)
    if rows == 2:
        doublings = np.log2(np.maximum(relative[_by_peak(relative)], 1e-6))
        ends = int(np.clip(np.ceil(np.percentile(np.abs(doublings), 98)), 1, 5))
        extent = (0.0, seconds, 0.5, len(relative) + 0.5)
        image = panels[1].imshow(doublings, cmap="RdBu_r", vmin=-ends, vmax=ends, extent=extent, **shown)
        panels[1].set_ylabel("weighting, by its peak", fontsize=9)
        if len(relative) <= FEW:
            panels[1].set_yticks(range(1, len(relative) + 1))
        _draw_bar(figure, image, ends)
    panels[-1].set_xlabel("seconds", fontsize=9)
    for axes in panels:
        axes.grid(False)
        axes.tick_params(labelsize=8)
    return figure


def _draw_mean(axes: Axes, mean: NDArray, seconds: float) -> None:
    """The mean over the weightings, as a line over the spectrogram with a scale of its own."""
    over = axes.twinx()
    time = (np.arange(len(mean)) + 0.5) * seconds / len(mean)
    # A dark rim: the line must be seen on loud frames, too.
    over.step(time, mean, where="mid", color="black", linewidth=2.6)
    over.step(time, mean, where="mid", color=LINE, linewidth=1.4)
    over.axhline(1.0, color="white", linewidth=0.8, linestyle=(0, (4, 4)))
    over.margins(y=0.1)
    over.set_ylabel("mean attention", fontsize=9)
    over.tick_params(labelsize=8)
    over.spines[["top"]].set_visible(False)


def _draw_bar(figure: Figure, image: AxesImage, ends: int) -> None:
    """Colours of doublings, labelled as multiples."""
    bar = figure.colorbar(image, ax=image.axes, pad=0.01, ticks=range(-ends, ends + 1))
    bar.set_ticklabels([f"1/{2**-power}" if power < 0 else str(2**power) for power in range(-ends, ends + 1)])
    bar.set_label("attention", fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _by_peak(relative: NDArray) -> NDArray:
    """An order of the weightings in which those that look at the same moment are neighbours."""
    frames = np.arange(relative.shape[1])
    # The centre of the strongest third: a peak alone jumps about where several are nearly equal.
    strong = np.where(relative >= np.percentile(relative, 67, axis=1, keepdims=True), relative, 0.0)
    return np.argsort((strong * frames).sum(axis=1) / strong.sum(axis=1), kind="stable")
