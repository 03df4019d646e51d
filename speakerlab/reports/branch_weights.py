"""Which branch of a fusion is trusted when: weights by condition, and how far each branch holds in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speakerlab.reports.figure import COLOURS, GREY, new_figure, save_figure
from speakerlab.reports.page import facts_section, figure_section, table_section, write_report

FUSED = "fused"
WIDTH = 0.8  # of all boxes of a condition
LEAST_SPAN = 0.05  # of weights shown above and below equal trust: less would look like much
NOTE = (
    "Weights are means over the utterances, with the range of nine tenths of them. Cosine: of the embedding with that "
    "of the same utterance when clean, both less the mean of the clean ones; a branch that a condition disturbs has a "
    "low one."
)


class Weights(Protocol):
    """Of one condition; see `speakerlab.inference.branch_weights.BranchWeights`."""

    weights: NDArray
    by_dimension: NDArray | None
    cosines: NDArray


def weight_rows(
    branches: Sequence[str], found: Mapping[str, Weights], with_range: bool = True
) -> dict[str, dict[str, str]]:
    """A row a condition: the weight of each branch, and how like the clean embedding each branch and the fusion are."""
    rows = {}
    for condition, one in found.items():
        low, high = np.quantile(one.weights, (0.05, 0.95), axis=0)
        cells = {}
        for i, branch in enumerate(branches):
            ends = f" ({low[i]:.3f} – {high[i]:.3f})" if with_range else ""
            cells[f"{branch} weight"] = f"{one.weights[:, i].mean():.3f}{ends}"
        means = one.cosines.mean(axis=0)
        cells |= {f"{name} cosine": f"{means[i]:.3f}" for i, name in enumerate((*branches, FUSED))}
        rows[condition] = cells
    return rows


def write_weights(
    folder: Path, title: str, branches: Sequence[str], found: Mapping[str, Weights], facts: Mapping[str, object]
) -> Path:
    """Write `report.html`, `weights.png` and `weights.svg`; returns the page.

    Args:
        folder: is made.
        title: of the page.
        branches: names in order.
        found: by condition.
        facts: about the page.
    """
    figure = weights_figure(branches, found)
    save_figure(figure, folder / "weights")
    return write_report(
        folder,
        title,
        facts_section("What this is", facts),
        figure_section("Weights by condition", figure),
        table_section("In numbers", weight_rows(branches, found), NOTE),
    )


def weights_figure(branches: Sequence[str], found: Mapping[str, Weights]) -> Figure:
    """Boxes of the weights by condition, the cosines with the clean embedding, and where each dimension has a weight of
    its own, these in order."""
    by_dimension = all(one.by_dimension is not None for one in found.values())
    rows = 3 if by_dimension else 2
    figure, panels = new_figure(max(7.0, 1.5 * len(found) + 1.0), 2.9 * rows, rows=rows)
    _draw_boxes(panels[0], branches, found)
    _draw_cosines(panels[1], branches, found)
    for axes in panels[:2]:
        axes.set_xticks(range(len(found)), list(found), fontsize=9)
        axes.set_xlim(-0.6, len(found) - 0.4)
    if by_dimension:
        _draw_dimensions(panels[2], branches, found)
    for axes in panels:
        axes.tick_params(labelsize=8)
    return figure


def _draw_boxes(axes: Axes, branches: Sequence[str], found: Mapping[str, Weights]) -> None:
    """Median, quartiles, and whiskers over nine tenths of the utterances."""
    width = WIDTH / len(branches)
    for number, branch in enumerate(branches):
        places = np.arange(len(found)) - WIDTH / 2 + (number + 0.5) * width
        colour = COLOURS[number % len(COLOURS)]
        boxes = axes.boxplot(
            [one.weights[:, number] for one in found.values()],
            positions=places,
            widths=0.8 * width,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            medianprops={"color": "black"},
            boxprops={"facecolor": colour, "edgecolor": colour, "alpha": 0.75},
            whiskerprops={"color": colour},
            capprops={"color": colour},
        )
        boxes["boxes"][0].set_label(branch)
    equal, (low, high) = 1 / len(branches), axes.get_ylim()
    axes.axhline(equal, color=GREY, linewidth=1.0, linestyle="--", label="equal trust")
    axes.set_ylim(min(low, equal - LEAST_SPAN), max(high, equal + LEAST_SPAN))
    axes.set_ylabel("weight of the branch", fontsize=9)
    axes.set_title("trust by condition: median, quartiles, 5 to 95 % of the utterances", fontsize=10, loc="left")
    axes.legend(frameon=False, fontsize=8, ncols=len(branches) + 1, loc="upper center", bbox_to_anchor=(0.5, -0.1))


def _draw_cosines(axes: Axes, branches: Sequence[str], found: Mapping[str, Weights]) -> None:
    for number, name in enumerate((*branches, FUSED)):
        means = [one.cosines[:, number].mean() for one in found.values()]
        last = number == len(branches)
        colour = "black" if last else COLOURS[number % len(COLOURS)]
        axes.plot(range(len(found)), means, marker="s" if last else "o", color=colour, linewidth=1.4, label=name)
    axes.set_ylabel("cosine with the clean", fontsize=9)
    axes.set_title("how far the embedding of the same utterance stays", fontsize=10, loc="left")
    axes.legend(frameon=False, fontsize=8)


def _draw_dimensions(axes: Axes, branches: Sequence[str], found: Mapping[str, Weights]) -> None:
    """Each branch's mean weights from its largest on: in the first condition, and in the one whose weights differ most
    from it."""
    first, *others = found
    start = found[first].by_dimension
    most = max(others, key=lambda name: np.abs(found[name].by_dimension - start).mean(), default=first)
    for number, branch in enumerate(branches):
        colour = COLOURS[number % len(COLOURS)]
        for condition, style in {first: "-", most: "--"}.items():
            weights = np.sort(found[condition].by_dimension[number])[::-1]
            axes.plot(weights, style, color=colour, linewidth=1.4, label=f"{branch}, {condition}")
    axes.axhline(1 / len(branches), color=GREY, linewidth=1.0, linestyle="--")
    axes.set_xlabel("dimensions, from the largest weight on", fontsize=9)
    axes.set_ylabel("mean weight", fontsize=9)
    axes.set_title("weights of single dimensions", fontsize=10, loc="left")
    axes.legend(frameon=False, fontsize=8)
