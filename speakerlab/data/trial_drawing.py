"""Draws trials among a manifest's utterances: the held-out trials of a training run, and lists made to order."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data.trials import Trials

MOST_DRAWN = 4_000_000  # pairs tried where most of them break a constraint


def draw_trials(table: pa.Table, count: int, seed: int) -> Trials:
    """Draw trials among a manifest's utterances: half targets, half non-targets, each pair at most once.

    Targets of a speaker with two or more sessions are across sessions; non-targets are of the same gender, and of any
    gender if that gives none. All possible pairs are equally likely. Neither depends on the order of the rows.

    Args:
        table: manifest of the held-out speakers.
        count: trials wanted; where fewer targets or non-targets exist than a half, all of them are taken.
        seed: same seed, same trials.

    Raises:
        InputError: for less than 2 trials, less than 2 speakers, or no speaker with 2 utterances.
    """
    if count < 2:
        raise InputError(f"count={count}: draw at least 2 trials, a target and a non-target")
    table = table.sort_by([(name, "ascending") for name in ("speaker", "session", "utterance")])
    speaker = _codes(table["speaker"])  # (rows,) each, ascending
    if not len(speaker) or speaker[-1] == 0:
        raise InputError(f"trials need at least 2 held-out speakers, but there are {len(np.unique(speaker))}")
    rng = np.random.default_rng(seed)
    targets = _draw_pairs(*_target_ranges(speaker, _codes(table["session"])), count // 2, rng)
    if not len(targets):
        raise InputError(f"no target trials among {len(speaker)} utterances: no held-out speaker has 2 of them")
    order, starts, stops = _nontarget_ranges(speaker, _codes(table["gender"]))
    nontargets = order[_draw_pairs(starts, stops, count - count // 2, rng)]
    return _shuffled(table, targets, nontargets, seed, rng)


def make_trials(
    table: pa.Table, count: int, seed: int, same: Sequence[str] = (), different: Sequence[str] = ()
) -> Trials:
    """Draw trials under constraints: half targets, half non-targets, each pair at most once, all pairs that meet the
    constraints equally likely, whatever the order of the rows.

    Args:
        table: manifest.
        count: trials wanted; where fewer targets or non-targets exist than a half, all of them are taken.
        seed: same seed, same trials.
        same: columns in which the two utterances of a trial agree, such as "gender".
        different: columns in which they differ. A session is its speaker's own, so "session" bears on targets alone.

    Utterances that have nothing in one of these columns are left out.

    Raises:
        InputError: for an unknown column, or if the constraints leave no targets or no non-targets.
    """
    if count < 2:
        raise InputError(f"count={count}: make at least 2 trials, a target and a non-target")
    table = with_known(table, [*same, *different])
    table = table.sort_by([(name, "ascending") for name in ("speaker", "session", "utterance")])
    if not len(table):
        what = f" has all of {', '.join([*same, *different])}" if same or different else " is there to make trials of"
        raise InputError(f"no utterance{what}; check the manifest, its column split and the constraints")
    speaker, group = _codes(table["speaker"]), np.zeros(len(table), np.int64)
    for name in same:
        group = _codes_of_pairs(group, _codes(table[name]))
    differing = {name: _codes(table[name]) for name in different}
    rng = np.random.default_rng(seed)
    targets = _draw_differing(_codes_of_pairs(group, speaker), list(differing.values()), count // 2, rng)
    others = [codes for name, codes in differing.items() if name != "session"]
    nontargets = _draw_differing(group, [speaker, *others], count - count // 2, rng)
    for kind, pairs in (("target", targets), ("non-target", nontargets)):
        if not len(pairs):
            raise InputError(
                f"no {kind} trials among {len(table):,} utterances of {speaker[-1] + 1:,} speakers meet the "
                f"constraints (same: {', '.join(same) or 'nothing'}; different: {', '.join(different) or 'nothing'})"
            )
    return _shuffled(table, targets, nontargets, seed, rng)


def with_known(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The rows that have something in all of these columns.

    Raises:
        InputError: if there is no such column.
    """
    for name in columns:
        if name not in table.column_names or name in ("utterance", "speaker"):
            usable = [column for column in table.column_names if column not in ("utterance", "speaker")]
            raise InputError(f"trials can't be constrained by {name!r}; the manifest has {', '.join(usable)}")
        filled = pc.not_equal(pc.cast(table[name], pa.string()), "")
        table = table.filter(pc.fill_null(filled, False))
    return table


def _shuffled(
    table: pa.Table, targets: np.ndarray, nontargets: np.ndarray, seed: int, rng: np.random.Generator
) -> Trials:
    """Trials of these pairs of rows, `(n, 2)` each, in random order and with random sides."""
    pairs = np.concatenate([targets, nontargets])  # (n, 2)
    labels = np.repeat(np.array([1, 0], np.int8), [len(targets), len(nontargets)])
    shuffled = rng.permutation(len(pairs))
    pairs = rng.permuted(pairs[shuffled], axis=1)  # either side may be the enrolment
    names, inverse = _first_appearance(pairs, table["utterance"])
    lines = np.arange(1, len(pairs) + 1, dtype=np.int32)
    source = f"{len(pairs)} drawn trials (seed {seed})"
    return Trials(labels[shuffled], inverse[:, 0].copy(), inverse[:, 1].copy(), names, lines, source)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Values as integers in order of first appearance: `(rows,)`."""
    return pc.dictionary_encode(column.cast(pa.string()).combine_chunks()).indices.to_numpy()


def _codes_of_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One integer for each pair of integers: `(rows,)`."""
    return first.astype(np.int64) * (second.max() + 1) + second


def _first_appearance(pairs: np.ndarray, names: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """Names that occur in `pairs` `(n, 2)`, and the pairs as positions among them, int32."""
    encoded = pa.array(pairs.reshape(-1)).dictionary_encode()
    return names.take(encoded.dictionary).to_pylist(), encoded.indices.to_numpy().astype(np.int32).reshape(-1, 2)


def _ends(groups: np.ndarray) -> np.ndarray:
    """For each row, where its run of equal values ends: `(rows,) -> (rows,)`."""
    last = np.append(np.flatnonzero(np.diff(groups)), len(groups) - 1)
    return np.repeat(last + 1, np.diff(last, prepend=-1))


def _target_ranges(speaker: np.ndarray, session: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows sorted by speaker and session: row i pairs with rows starts[i] to stops[i]."""
    stops = _ends(speaker)
    session_ends = _ends(speaker.astype(np.int64) * (session.max() + 1) + session)
    begins = np.flatnonzero(np.diff(speaker, prepend=-1))
    one_session = np.isin(speaker, speaker[begins[session_ends[begins] == stops[begins]]])
    return np.where(one_session, np.arange(1, len(speaker) + 1), session_ends), stops


def _nontarget_ranges(speaker: np.ndarray, gender: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An order of the rows by gender and speaker, in which row i pairs with rows starts[i] to stops[i]."""
    gender = gender[np.flatnonzero(np.diff(speaker, prepend=-1))][speaker]  # a speaker's first row tells
    order = np.argsort(gender, kind="stable")
    starts, stops = _ends(speaker[order]), _ends(gender[order])
    if (starts == stops).all():
        order = np.arange(len(speaker))
        starts, stops = _ends(speaker), np.full(len(speaker), len(speaker))
    return order, starts, stops


def _draw_pairs(starts: np.ndarray, stops: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`(n, 2)` distinct pairs (i, j), starts[i] <= j < stops[i], n the smaller of `count` and their number.

    All pairs are numbered in order and numbers are drawn, so that a million utterances need no list of pairs.
    """
    before = np.concatenate([[0], np.cumsum(stops - starts)])  # pairs before row i
    numbers = rng.choice(before[-1], min(count, before[-1]), replace=False)
    rows = np.searchsorted(before, numbers, side="right") - 1
    return np.stack([rows, starts[rows] + numbers - before[rows]], axis=1)


def _draw_differing(
    groups: np.ndarray, differing: list[np.ndarray], count: int, rng: np.random.Generator
) -> np.ndarray:
    """`(n, 2)` distinct pairs of rows of one group that differ in each of `differing`, n at most `count`.

    The first of these is met by construction; pairs that agree in another are drawn and dropped.
    """
    by = differing[0] if differing else np.arange(len(groups))
    order = np.lexsort((by, groups))
    starts = _ends(_codes_of_pairs(np.unique(groups, return_inverse=True)[1], by)[order])
    stops = _ends(groups[order])

    def allowed(pairs: np.ndarray) -> np.ndarray:
        return np.all([codes[pairs[:, 0]] != codes[pairs[:, 1]] for codes in differing[1:]], axis=0)

    return _draw_allowed(order, starts, stops, count, allowed if len(differing) > 1 else None, rng)


def _draw_allowed(
    order: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    count: int,
    allowed: Callable[[np.ndarray], np.ndarray] | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """`_draw_pairs`, as pairs of rows in `order`, until `count` of them are allowed or there are no more."""
    most = min(int((stops - starts).sum()), max(count, MOST_DRAWN))
    drawn = count
    while True:
        pairs = order[_draw_pairs(starts, stops, min(drawn, most), rng)]
        if allowed is None:
            return pairs
        pairs = pairs[allowed(pairs)]
        if len(pairs) >= count or drawn >= most:
            return pairs[:count]
        drawn *= 4
