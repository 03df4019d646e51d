"""Which rows of a manifest are trained on, chosen by and tested on: its column `split`.

In a closed-set split every speaker is in every part, which is what identification wants; a split by speaker keeps the
parts' speakers apart, which is what verification wants. Every choice is a hash of the seed and a name: it depends on
neither the order of the rows nor what other speakers there are.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data.corpus import select_rows
from speakerlab.data.lists import read_lines
from speakerlab.data.manifest import speakers_of
from speakerlab.data.utterance_names import rows_named

PARTS = ("train", "val", "test")
UNITS = ("utterance", "session", "speaker")
FREE_SESSIONS = 8  # of a speaker, whose best assignment is found by trying all
MISSED = 0.02  # by so much a part may differ from its share before that is said


def part_of(table: pa.Table, *names: str) -> pa.Table:
    """The rows whose `split` is one of `names`."""
    return select_rows(table, pc.is_in(table["split"], value_set=pa.array(names, pa.string())).to_numpy())


def rows_of_splits(table: pa.Table, names: Sequence[str], source: str) -> pa.Table:
    """`part_of` with names that the user gave.

    Raises:
        InputError: if one is no split of the table; it tells `source` and the splits that there are.
    """
    there = sorted(pc.unique(table["split"]).to_pylist())
    unknown = [name for name in names if name not in there]
    if unknown:
        splits = ", ".join(map(repr, there)) or "none, being empty"
        raise InputError(f"{source}: has no utterance of split {unknown[0]!r}; it has {splits}")
    return part_of(table, *names)


def first_speakers(table: pa.Table, count: int) -> pa.Table:
    """The rows of the first `count` speakers in name order.

    Raises:
        InputError: if there are not that many.
    """
    speakers = speakers_of(table)
    if not 2 <= count <= len(speakers):
        raise InputError(f"n_speakers={count} must be between 2 and the {len(speakers):,} speakers that there are")
    return select_rows(table, pc.is_in(table["speaker"], value_set=pa.array(speakers[:count], pa.string())).to_numpy())


def check_shares(shares: dict[str, float], by: str) -> None:
    """Refuse shares that divide nothing.

    Raises:
        InputError: for an unknown part or unit, a share that is no positive number, or shares that don't add up to 1.
    """
    if by not in UNITS:
        raise InputError(f"split_by={by} must be one of {', '.join(UNITS)}")
    text = "the split " + ", ".join(f"{name} {share}" for name, share in shares.items())
    if not set(shares) <= set(PARTS) or "train" not in shares or len(shares) < 2:
        raise InputError(f"{text} must name train and one or both of val and test")
    if not all(isinstance(share, int | float) and 0 < share < 1 for share in shares.values()):
        raise InputError(f"{text}: each share must be a number between 0 and 1")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"{text}: the shares add up to {sum(shares.values()):g}, but must add up to 1")


def draw_split(table: pa.Table, shares: dict[str, float], by: str, seed: int) -> pa.Table:
    """The table with its column `split` drawn anew.

    Args:
        table: manifest; sessions are a speaker's own, whatever those of others are called.
        shares: of "train", "val" and "test", adding up to 1; each speaker's utterances (by speaker: the speakers) are
            divided as near to them as whole utterances or sessions allow.
        by: "utterance" and "session" put every speaker into every part, and "session" never divides one; "speaker"
            puts all that a speaker said into one part.
        seed: same seed, same split.

    Raises:
        InputError: see `check_shares`; also if some speakers have too few utterances or sessions, or there are too few
            speakers.
    """
    check_shares(shares, by)
    names = [name for name in PARTS if name in shares]
    wanted = np.array([shares[name] for name in names])
    speakers = table["speaker"].combine_chunks().dictionary_encode()
    speaker, people = speakers.indices.to_numpy(), speakers.dictionary
    if by == "speaker":
        parts = _deal_speakers(people, wanted, seed)[speaker]
    elif by == "utterance":
        parts = _deal_utterances(speaker, people, table["utterance"], wanted, seed)
    else:
        parts = _deal_sessions(speaker, people, table["session"], wanted, seed)
    return with_split(table, pa.DictionaryArray.from_arrays(pa.array(parts), names).cast(pa.string()))


def missed_shares(table: pa.Table, shares: dict[str, float], by: str) -> str | None:
    """A line about the parts that came out otherwise than asked; None if all are near enough.

    Args:
        table: as `draw_split` gave it.
        shares, by: that it was given.
    """
    parts = {name: part_of(table, name) for name in shares}
    counts = {name: len(speakers_of(rows)) if by == "speaker" else len(rows) for name, rows in parts.items()}
    reached = {name: count / sum(counts.values()) for name, count in counts.items()}
    missed = [name for name, share in shares.items() if abs(reached[name] - share) > MISSED]
    if not missed:
        return None
    told = ", ".join(f"{name} has {100 * reached[name]:.1f} % in place of {100 * shares[name]:g} %" for name in missed)
    if by == "speaker":
        return f"warning: {told} of the speakers: there are too few of them for such shares"
    units = table.group_by("speaker").aggregate([(by, "count_distinct")])[f"{by}_count_distinct"]
    nearer = "; a split by utterance comes nearer" if by == "session" else ""
    return (
        f"warning: {told} of the utterances: speakers have too few {by}s for such shares, half of them "
        f"{int(np.median(units))} or fewer{nearer}"
    )


def with_split(table: pa.Table, column: pa.Array) -> pa.Table:
    """The table with another column `split`."""
    return table.set_column(table.column_names.index("split"), "split", column)


def listed_split(table: pa.Table, path: Path) -> tuple[pa.Table, int]:
    """The rows that a list names, divided as it says, and the number of its lines that name no row.

    Args:
        table: manifest.
        path: lines `part utterance`, part 1 for training, 2 for validation, 3 for the test: VoxCeleb's iden_split.txt.

    Raises:
        InputError: if the list can't be read, names an utterance twice, or leaves a part without rows.
    """
    parts, names = _read_split_list(path)
    rows = rows_named(table, names)  # (lines,), -1 where there is none
    found = rows[rows >= 0]
    if len(np.unique(found)) < len(found):
        raise InputError(f"{path}: names an utterance more than once, so that its part is uncertain")
    chosen = with_split(table.take(found), parts.filter(pa.array(rows >= 0)))
    present = set(pc.unique(chosen["split"]).to_pylist())
    empty = [name for name in PARTS if name not in present]
    if empty:
        raise InputError(
            f"{path}: none of its lines for {', '.join(empty)} names an utterance of the manifest; a line is "
            f"'1 {table['utterance'][0].as_py() if len(table) else 'speaker/session/1.wav'}'"
        )
    return chosen, int((rows < 0).sum())


def is_closed_set(table: pa.Table) -> bool:
    """Whether the speakers of val and test are those of train (True) or others (False).

    Raises:
        InputError: if some are and some are not, or a part is missing.
    """
    for name in PARTS[:2]:
        if not len(part_of(table, name)):
            raise InputError(f"no utterance is in {name}; the manifest's column split needs {' and '.join(PARTS[:2])}")
    others = pc.unique(part_of(table, "val", "test")["speaker"])
    known = pc.is_in(others, value_set=pc.unique(part_of(table, "train")["speaker"]))
    count = pc.sum(known).as_py()
    if 0 < count < len(others):
        stranger = others.filter(pc.invert(known))[0].as_py()
        raise InputError(
            f"{count:,} of the {len(others):,} speakers of val and test are in train and the others, such as "
            f"{stranger}, are not: the split is neither closed-set nor by speaker; draw it anew"
        )
    return count > 0


def quota(count: int, shares: np.ndarray) -> np.ndarray:
    """`(parts,)` whole numbers that add up to `count`, each at least 1 and as near to its share as can be.

    >>> quota(10, np.array([0.6, 0.2, 0.2])).tolist()
    [6, 2, 2]
    """
    wanted = count * shares
    given = np.maximum(np.floor(wanted + 1e-9), 1).astype(np.int64)
    while given.sum() < count:
        given[np.argmax(wanted - given)] += 1
    while given.sum() > count:
        given[np.argmax(np.where(given > 1, given - wanted, -np.inf))] -= 1
    return given


def deal_sessions(sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """One speaker's sessions, dealt so that the parts' utterances come near their shares: `(sessions,)` parts.

    The first sessions each go to the part that lacks most; for the last `FREE_SESSIONS` all assignments are tried, so
    that up to that many are divided as well as can be. No part stays empty.

    Args:
        sizes: `(sessions,)` utterances of each, in random order.
        shares: `(parts,)`, adding up to 1; no more parts than sessions.
    """
    wanted, filled = shares * sizes.sum(), np.zeros(len(shares))
    dealt = np.empty(len(sizes), np.int64)
    first_free = max(0, len(sizes) - FREE_SESSIONS)
    for i in range(first_free):
        dealt[i] = np.argmax(wanted - filled)
        filled[dealt[i]] += sizes[i]
    options = _assignments(len(sizes) - first_free, len(shares))  # (options, free)
    totals = [filled[part] + (options == part) @ sizes[first_free:] for part in range(len(shares))]
    totals = np.stack(totals, axis=1)  # (options, parts)
    errors = np.abs(totals - wanted).sum(axis=1).round(6)
    errors[(totals == 0).any(axis=1)] = np.inf
    dealt[first_free:] = options[np.argmin(errors)]
    return dealt


@cache
def _assignments(items: int, parts: int) -> np.ndarray:
    """Every way to deal items to parts: `(parts ** items, items)`."""
    return np.indices((parts,) * items).reshape(items, -1).T


def _hashes(names: Sequence[str], seed: int) -> np.ndarray:
    """A random number for each name, `(names,)` uint64, whatever stands beside it."""
    key = f"{seed}".encode()
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8, key=key).digest() for name in names)
    return np.frombuffer(digests, "<u8")


def _deal_speakers(people: pa.Array, shares: np.ndarray, seed: int) -> np.ndarray:
    """Part of each speaker, `(speakers,)`."""
    if len(people) < 2 * len(shares):
        raise InputError(
            f"a split by speaker into {len(shares)} parts needs 2 speakers in each, but there are {len(people)}"
        )
    parts = np.empty(len(people), np.int64)
    parts[np.argsort(_hashes(people.to_pylist(), seed))] = np.repeat(np.arange(len(shares)), quota(len(people), shares))
    if np.bincount(parts).min() < 2:
        raise InputError(f"a split of {len(people)} speakers leaves one part with a single one; choose other shares")
    return parts


def _deal_utterances(
    speaker: np.ndarray, people: pa.Array, utterance: pa.ChunkedArray, shares: np.ndarray, seed: int
) -> np.ndarray:
    """Part of each row, `(rows,)`."""
    counts = np.bincount(speaker, minlength=len(people))
    _check_enough(counts, people, len(shares), "utterance")
    order = np.lexsort((_hashes(utterance.to_pylist(), seed), speaker))
    sizes, which = np.unique(counts, return_inverse=True)
    ends = np.stack([np.cumsum(quota(int(size), shares)) for size in sizes])[which]  # (speakers, parts)
    owner = speaker[order]
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)  # among the speaker's
    parts = np.empty(len(speaker), np.int64)
    parts[order] = (place[:, None] >= ends[owner]).sum(axis=1)
    return parts


def _deal_sessions(
    speaker: np.ndarray, people: pa.Array, session: pa.ChunkedArray, shares: np.ndarray, seed: int
) -> np.ndarray:
    """Part of each row, `(rows,)`."""
    sessions = session.combine_chunks().dictionary_encode()
    keys = speaker.astype(np.int64) * len(sessions.dictionary) + sessions.indices.to_numpy()
    unique, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    owner, which = np.divmod(unique, len(sessions.dictionary))  # of each group of rows
    counts = np.bincount(owner, minlength=len(people))
    _check_enough(counts, people, len(shares), "session")
    who, occasion = people.to_pylist(), sessions.dictionary.to_pylist()
    names = [f"{who[i]}\0{occasion[j]}" for i, j in zip(owner, which, strict=True)]
    order = np.lexsort((_hashes(names, seed), owner))
    parts = np.empty(len(unique), np.int64)
    for mine in np.split(order, np.cumsum(counts)[:-1]):
        parts[mine] = deal_sessions(sizes[mine], shares)
    return parts[group]


def _check_enough(counts: np.ndarray, people: pa.Array, parts: int, unit: str) -> None:
    few = np.flatnonzero(counts < parts)
    if not len(few):
        return
    least = few[np.argmin(counts[few])]
    advice = "split by utterance, or into fewer parts" if unit == "session" else "leave them out, or use fewer parts"
    raise InputError(
        f"{len(few):,} of {len(counts):,} speakers have fewer {unit}s than the split has parts ({parts}), such as "
        f"{people[int(least)].as_py()} with {counts[least]}; every speaker must be in every part: {advice}"
    )


def _read_split_list(path: Path) -> tuple[pa.Array, list[str]]:
    """Part and name of each line."""
    lines = read_lines(path, "split list")
    if not len(lines.numbers):
        raise InputError(f"{path}: is empty; a line is 'part utterance', such as '1 speaker/session/1.wav'")
    words = lines.words("two")
    numbers = words.dictionary.take(words.indices.take(pa.array(np.arange(0, len(words), 2))))
    codes = pc.index_in(numbers.cast(pa.string()), value_set=pa.array(["1", "2", "3"]))
    known = codes.is_valid().to_numpy(zero_copy_only=False)
    lines.check(known, "the part is neither 1 (train) nor 2 (val) nor 3 (test)")
    names = words.dictionary.take(words.indices.take(pa.array(np.arange(1, len(words), 2))))
    return pa.array(PARTS).take(codes), names.to_pylist()
