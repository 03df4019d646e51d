"""The speakers of utterances that come without them, as in a trial list, and some utterances of some speakers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from speakerlab import InputError
from speakerlab.data.trials import Trials

SPEAKERS, UTTERANCES = 20, 25  # of a map: more than 20 colours nobody tells apart


def speakers_by_targets(trials: Trials) -> NDArray[np.int64]:
    """A speaker number for each utterance, `(utterances,)`: those that target trials connect are one speaker.

    A trial list names no speakers, and folder names are no proof of one; its labels are. Numbers are given in the order
    of the trials, so that one list has the same bootstrap draws from whatever file it was read.
    """
    target = trials.labels == 1
    count = len(trials.utterances)
    edges = coo_array(
        (np.ones(target.sum(), dtype=np.int8), (trials.enrol[target], trials.test[target])), shape=(count, count)
    )
    count, found = connected_components(edges, directed=False)
    named = found[np.stack([trials.enrol, trials.test], axis=1).reshape(-1)]
    numbers, first = np.unique(named, return_index=True)
    order = np.concatenate([numbers[np.argsort(first)], np.setdiff1d(np.arange(count), numbers)])
    return np.argsort(order)[found]


def check_speakers(trials: Trials) -> None:
    """Refuse a list that no speakers fit: a bootstrap over speakers has no meaning on it.

    Raises:
        InputError: naming the first non-target trial of two utterances that target trials connect.
    """
    speakers = speakers_by_targets(trials)
    wrong = np.flatnonzero((trials.labels == 0) & (speakers[trials.enrol] == speakers[trials.test]))
    if len(wrong):
        enrol, test = (trials.utterances[side[wrong[0]]] for side in (trials.enrol, trials.test))
        raise InputError(
            f"{trials.source}, line {trials.lines[wrong[0]]}: {enrol} and {test} are of different speakers here, and "
            f"of one speaker by the target trials of the list (lines like this: {len(wrong):,}); mend the labels, or "
            "evaluate it without intervals over speakers (bootstrap_draws=0)"
        )


def speaker_names(utterances: Sequence[str], speakers: ArrayLike) -> NDArray[np.str_]:
    """A name for the speaker of each utterance, `(utterances,)`: the folders that all of its utterances share, such as
    `id10270`, or "as in <the first of them>" where other speakers share those too.

    Args:
        utterances: names with forward slashes.
        speakers: `(utterances,)` a number each.
    """
    _, numbers = np.unique(speakers, return_inverse=True)
    shared: dict[int, list[str]] = {}
    first: dict[int, str] = {}
    for number, name in zip(numbers.tolist(), utterances, strict=True):
        folders = name.split("/")[:-1]
        first.setdefault(number, name)
        known = shared.setdefault(number, folders)
        if known != folders:
            shared[number] = _common([known, folders])
    # Folders that all speakers lie in tell nothing.
    above = _common([folders[:-1] for folders in shared.values()])
    names = {number: "/".join(folders[len(above) :]) for number, folders in sorted(shared.items())}
    if "" in names.values() or len(set(names.values())) < len(names):
        names = {number: f"as in {first[number]}" for number in names}
    return np.array(list(names.values()))[numbers]


def _common(paths: list[list[str]]) -> list[str]:
    """The folders that all paths begin with."""
    same = [len(set(folders)) == 1 for folders in zip(*paths)]
    return paths[0][: [*same, False].index(False)]


def sample_rows(speakers: ArrayLike, most_speakers: int = SPEAKERS, most_each: int = UTTERANCES) -> NDArray[np.int64]:
    """Rows of the speakers with the most utterances, of each evenly from the first to the last; in rising order.

    Args:
        speakers: `(utterances,)` names or numbers.
        most_speakers: of equally frequent ones, those whose names come first are taken.
        most_each: utterances of a speaker.

    >>> sample_rows(["b", "a", "b", "b", "c"], most_speakers=2, most_each=2).tolist()
    [0, 1, 3]
    """
    _, numbers, counts = np.unique(np.asarray(speakers), return_inverse=True, return_counts=True)
    by_speaker = np.argsort(numbers, kind="stable")
    starts = np.concatenate(([0], np.cumsum(counts)))
    rows = []
    for number in np.argsort(-counts, kind="stable")[:most_speakers]:
        own = by_speaker[starts[number] : starts[number + 1]]
        rows.append(own[np.linspace(0, len(own) - 1, min(len(own), most_each)).round().astype(np.int64)])
    return np.sort(np.concatenate(rows))
