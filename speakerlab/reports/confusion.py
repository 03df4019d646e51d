"""Who is taken for whom: the confusion matrix of the speakers that are confused most."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speakerlab.reports.figure import new_figure, shortened
from speakerlab.scoring.identification import confusion_matrix

MOST = 15
CELL_INCHES = 0.4


def confusions(classes: NDArray, predicted: NDArray, speakers: Sequence[str], most: int) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: (speaker, taken for, times), at most `most` of them."""
    counts = confusion_matrix(predicted, classes, len(speakers)).tocoo()
    wrong = np.flatnonzero(counts.row != counts.col)
    order = wrong[np.argsort(-counts.data[wrong], kind="stable")][:most]
    return [(speakers[counts.row[i]], speakers[counts.col[i]], int(counts.data[i])) for i in order]


def most_confused(classes: NDArray, predicted: NDArray, most: int = MOST) -> NDArray[np.int64]:
    """The speakers of the pairs that are confused most often, in either direction, the two of a pair one after the
    other.

    Single speakers with many mistakes would make a matrix of empty cells where there are thousands of speakers.

    Args:
        classes, predicted: `(utterances,)`.
        most: speakers.
    """
    wrong = classes != predicted
    pairs = np.sort(np.stack((classes[wrong], predicted[wrong])), axis=0)
    pairs, times = np.unique(pairs, axis=1, return_counts=True)
    order = np.argsort(-times, kind="stable")
    chosen: dict[int, None] = {}
    for pair in pairs[:, order[: most * most]].T:
        if len(chosen | dict.fromkeys(pair.tolist())) <= most:
            chosen |= dict.fromkeys(pair.tolist())
    return np.array(list(chosen), np.int64)


def confusion_counts(classes: NDArray, predicted: NDArray, chosen: NDArray) -> NDArray[np.int64]:
    """Utterances by true speaker (row) and named speaker, `(chosen, chosen + 1)`; the last column is everybody else.

    Whatever the number of speakers, memory is that of the chosen and of the utterances.
    """
    rows = confusion_matrix(predicted, classes, int(max(classes.max(), predicted.max())) + 1)[chosen]
    counts = rows[:, chosen].toarray()
    return np.column_stack([counts, rows.sum(axis=1) - counts.sum(axis=1)])


def confusion_figure(counts: NDArray, names: Sequence[str]) -> Figure:
    """A row a true speaker: colours are shares of the row, numbers are utterances.

    Args:
        counts: `(speakers, speakers + 1)`; see `confusion_counts`.
        names: of the speakers.
    """
    labels = [shortened(name, 18) for name in names]
    size = CELL_INCHES * (len(labels) + 1)
    figure, (axes,) = new_figure(size + 2.2, size + 1.4)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for row, column in zip(*np.nonzero(counts)):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(labels) + 1), [*labels, "others"], rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set(xlabel="named", ylabel="speaks")
    axes.axvline(len(labels) - 0.5, color="black", linewidth=0.8)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure
