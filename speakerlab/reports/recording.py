"""One recording to look at: its waveform above its mel spectrogram and, where there is one, the pooling's attention."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from speakerlab.reports.figure import COLOURS, figure_svg, new_figure

INK = "#123456"  # stands for the page's own colour of text, which is another in the dark
MOST_COLUMNS = 900
LINE = "#00e5ff"  # seen on every colour of the spectrogram


def recording_svg(
    waveform: NDArray,
    sample_rate: int,
    spectrogram: NDArray,
    attention: NDArray | None,
    attended_seconds: float,
) -> str:
    """An SVG element for a page, in the colour of the text around it.

    Args:
        waveform: `(samples,)` in [-1, 1].
        sample_rate: in hertz.
        spectrogram: `(frames, bands)` in dB, of the whole recording.
        attention: `(frames of the pooling,)`, multiples of the weight of an average over time; None without.
        attended_seconds: that they last.
    """
    seconds = len(waveform) / sample_rate
    figure, (above, below) = new_figure(7.0, 3.6, rows=2)
    figure.patch.set_alpha(0.0)
    time, low, high = envelope(waveform, MOST_COLUMNS)
    above.fill_between(time * seconds, low, high, color=COLOURS[5], linewidth=0.4)
    above.set_ylim(-1.05 * (peak := max(1e-3, float(np.abs(waveform).max()))), 1.05 * peak)
    above.set_ylabel("amplitude", fontsize=9)
    above.tick_params(labelbottom=False)
    picture = thinned_frames(spectrogram, MOST_COLUMNS)
    # Single extremes, such as digital silence, would leave no contrast for the rest.
    darkest, brightest = np.percentile(picture, (1, 99.5))
    extent = (0.0, seconds, 0.0, float(picture.shape[1]))
    below.imshow(picture.T, cmap="magma", vmin=darkest, vmax=brightest, extent=extent, aspect="auto", origin="lower")
    below.set_ylabel("mel band", fontsize=9)
    below.set_xlabel("seconds", fontsize=9)
    panels = [above, below]
    if attention is not None:
        panels.append(_draw_attention(below, attention, attended_seconds))
    for axes in panels:
        axes.set_xlim(0.0, seconds)
        _in_ink(axes)
    text = figure_svg(figure)
    return text[text.index("<svg") :].replace(INK, "currentColor")


def envelope(waveform: NDArray, columns: int) -> tuple[NDArray, NDArray, NDArray]:
    """Where in the recording (0 to 1), and its lowest and highest value there, each `(at most columns,)`."""
    edges = np.unique(np.linspace(0, len(waveform), min(columns, len(waveform)), endpoint=False).astype(int))
    low, high = np.minimum.reduceat(waveform, edges), np.maximum.reduceat(waveform, edges)
    return edges / len(waveform), low, high


def thinned_frames(frames: NDArray, most: int) -> NDArray:
    """`(frames, ...)` as means over neighbours, at most `most` of them."""
    if len(frames) <= most:
        return frames
    edges = np.linspace(0, len(frames), most, endpoint=False).astype(int)
    counts = np.diff(np.append(edges, len(frames)))
    return np.add.reduceat(frames, edges) / counts.reshape(-1, *[1] * (frames.ndim - 1))


def _draw_attention(axes: Axes, attention: NDArray, seconds: float) -> Axes:
    over, shown = axes.twinx(), thinned_frames(attention, MOST_COLUMNS)
    time = (np.arange(len(shown)) + 0.5) * seconds / len(shown)
    # A dark rim: the line must be seen on loud frames, too.
    over.step(time, shown, where="mid", color="black", linewidth=2.2)
    over.step(time, shown, where="mid", color=LINE, linewidth=1.1)
    over.margins(y=0.1)
    over.set_ylabel("mean attention", fontsize=9)
    return over


def _in_ink(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.grid(False)
    axes.tick_params(labelsize=8, colors=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
    for spine in axes.spines.values():
        spine.set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
