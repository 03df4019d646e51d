"""What all figures share: colours, an empty figure without pyplot, and how one is saved or turned into SVG."""

import io
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito, "Color Universal Design", 2008: told apart with every common colour blindness. Their yellow is left
# out, since it can't be seen on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#777777"

# A fixed salt and no date: the same data gives the same file.
_SVG_SETTINGS = {"svg.hashsalt": "speakerlab", "svg.fonttype": "path"}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches with its axes, row by row.

    It belongs to no window and no pyplot state, so that it needs no display and is freed like any object.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for one in axes:
        one.grid(True, color="#dddddd", linewidth=0.6)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write `stem.png` and `stem.svg` (folders are made) and return their paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    settle(figure)
    # Not with_suffix: a stem such as "det_0.05" has a dot that belongs to its name.
    png, svg = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".svg")
    figure.savefig(png, dpi=150)
    svg.write_text(figure_svg(figure), encoding="utf-8")
    return png, svg


def save_figures(folder: Path, figures: Mapping[str, Figure], name: str) -> dict[str, str]:
    """Write `<kind>_<name>.png` and `.svg` of each kind of figure; returns the SVG texts, for a page."""
    return {kind: save_figure(figure, folder / f"{kind}_{name}")[1].read_text() for kind, figure in figures.items()}


def settle(figure: Figure) -> None:
    """Find the figure's layout once and for all: for every file anew, it would take as long as drawing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def figure_svg(figure: Figure) -> str:
    """The figure as the text of an SVG file."""
    buffer = io.StringIO()
    with matplotlib.rc_context(_SVG_SETTINGS):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def figure_image(figure: Figure) -> NDArray[np.uint8]:
    """The figure as `(height, width, 3)` pixels, as TensorBoard takes it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def thinned(line: NDArray[np.float64], cell: float) -> NDArray[np.float64]:
    """A line `(x and y, vertices)` without the vertices within `cell`, in units of the line, of their neighbours.

    A curve over 580,000 trials would otherwise make an SVG of 40 MB.
    """
    grid = np.round(line / cell)
    moves = np.any(grid[:, 1:] != grid[:, :-1], axis=0)
    # The first and the last vertex of a cell stay, so that a jump is drawn from where it starts.
    return line[:, np.append(True, moves) | np.append(moves, True)]


def shortened(text: str, most: int = 24) -> str:
    """The end of a long name, such as a folder."""
    return text if len(text) <= most else f"…{text[1 - most :]}"
