"""The trials that a system is most wrong about, to look at and to listen to: hard speakers, and wrong labels."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speakerlab.data.trials import Trials
from speakerlab.reports.page import section

MOST = 10


def worst_trials(
    scores: NDArray, labels: NDArray, threshold: float, most: int = MOST
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the false accepts with the highest scores, and of the false rejects with the lowest, the worst first.

    Args:
        scores: `(trials,)`.
        labels: `(trials,)`, 1 for the same speaker.
        threshold: a trial is accepted from here on.
        most: of each kind.
    """
    accepts = np.flatnonzero((labels != 1) & (scores >= threshold))
    rejects = np.flatnonzero((labels == 1) & (scores < threshold))
    return (
        accepts[np.argsort(-scores[accepts], kind="stable")[:most]],
        rejects[np.argsort(scores[rejects], kind="stable")[:most]],
    )


def worst_section(title: str, none: str, trials: Trials, scores: NDArray, rows: NDArray, files: Sequence[Path]) -> str:
    """A block a trial: its score, its line in the list, and the name of each side with a player.

    Args:
        title: heading.
        none: said where there are no rows.
        trials: the list.
        scores: `(trials,)`.
        rows: of the trials to show.
        files: of the utterances; empty where they are unknown. Those that don't exist have no player.
    """
    if not len(rows):
        return section(title, f"<p>{escape(none)}</p>")
    blocks = []
    for row in rows:
        sides = "".join(
            _side(trials.utterances[side], files[side] if files else None)
            for side in (trials.enrol[row], trials.test[row])
        )
        line = f"line {trials.lines[row]:,}"
        blocks.append(f'<li><div class="score"><b>{scores[row]:.4f}</b><span>{line}</span></div>{sides}</li>\n')
    return section(title, f'<ol class="trials">\n{"".join(blocks)}</ol>')


def _side(name: str, file: Path | None) -> str:
    # The sound is linked, not copied, and nothing is read before somebody plays it.
    known = file is not None and file.is_file()
    player = f'<audio controls preload="none" src="{escape(file.resolve().as_uri())}"></audio>' if known else ""
    return f'<div class="side"><span>{escape(name)}</span>{player}</div>'
