"""A map of embeddings by speaker.

van der Maaten, Hinton: "Visualizing data using t-SNE", JMLR 2008. Distances between far groups mean nothing on such a
map; what it shows is which utterances have which neighbours.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speakerlab.reports.figure import COLOURS, new_figure, shortened

MARKERS = ("o", "^", "s")
FEWEST = 10  # utterances that make a map


class Sample(NamedTuple):
    """Some utterances of some speakers.

    embeddings: `(utterances, dim)`.
    speakers: `(utterances,)` their names.
    """

    embeddings: NDArray
    speakers: NDArray[np.str_]


def map_of(embeddings: NDArray, seed: int = 0) -> NDArray[np.float64]:
    """Places `(utterances, 2)` on a t-SNE map by cosine; seconds for 500 utterances."""
    from sklearn.manifold import TSNE

    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit = embeddings / np.maximum(length, np.finfo(embeddings.dtype).tiny)
    # Half the squared distance of unit vectors is one minus their cosine.
    tsne = TSNE(perplexity=min(30.0, (len(unit) - 1) / 3), init="pca", random_state=seed, n_iter_without_progress=150)
    return tsne.fit_transform(unit.astype(np.float64))


def map_figure(sample: Sample) -> Figure | None:
    """The map with a colour and a marker a speaker; None of utterances too few, or of one speaker."""
    names = np.unique(sample.speakers).tolist()
    if len(sample.speakers) < FEWEST or len(names) < 2 or len(names) > len(COLOURS) * len(MARKERS):
        return None
    places = map_of(sample.embeddings)
    figure, (axes,) = new_figure(7.6, 5.4)
    for number, name in enumerate(names):
        x, y = places[sample.speakers == name].T
        axes.scatter(
            x,
            y,
            s=22,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number // len(COLOURS)],
            linewidths=0.4,
            edgecolors="white",
            label=shortened(name),
        )
    axes.grid(False)
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.set_adjustable("datalim")
    axes.spines[["top", "right"]].set_visible(True)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, title="speaker", title_fontsize=9)
    return figure
