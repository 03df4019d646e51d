"""Trial lists: which pairs of utterances to compare, and whether they share a speaker.

VoxCeleb's form is `label enrol test` with label 1 (same speaker) or 0; Kaldi's is `enrol test target|nontarget`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data.audio import AUDIO_SUFFIXES
from speakerlab.data.lists import Lines, read_lines
from speakerlab.data.manifest import replacing

# Trials in VoxCeleb1's official lists, by file name without suffix, lower case, "-" as "_".
VOXCELEB_COUNTS = {
    **dict.fromkeys(("vox1_o", "veri_test"), 37720),
    **dict.fromkeys(("vox1_o_cleaned", "vox1_o_clean", "veri_test2"), 37611),
    **dict.fromkeys(("vox1_e", "list_test_all"), 581480),
    **dict.fromkeys(("vox1_e_cleaned", "vox1_e_clean", "list_test_all2"), 579818),
    **dict.fromkeys(("vox1_h", "list_test_hard"), 552536),
    **dict.fromkeys(("vox1_h_cleaned", "vox1_h_clean", "list_test_hard2"), 550894),
}
FORMS = "neither 'label enrol test' with label 0 or 1 nor 'enrol test target|nontarget'"
SHOWN = 3  # examples in a message


@dataclass(frozen=True, eq=False)
class Trials:
    """Pairs of utterances.

    Attributes:
        labels: `(n,)` int8, 1 for the same speaker and 0 for different ones.
        enrol: `(n,)` int32, positions in `utterances`.
        test: `(n,)` int32, positions in `utterances`.
        utterances: each name once, in order of first appearance.
        lines: `(n,)` int32, the trial's line number in the list, from 1.
        source: the list's path, or how it was made; for messages.
    """

    labels: np.ndarray
    enrol: np.ndarray
    test: np.ndarray
    utterances: list[str]
    lines: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.labels)


def read_trials(path: str | Path) -> Trials:
    """Read a list in either form; columns are separated by spaces or tabs, blank lines are skipped.

    Raises:
        InputError: if the file is missing, is no text, holds no trials, has a line of another form (with its number),
            or carries the name of an official VoxCeleb list without having its number of trials.
    """
    path = Path(path)
    lines = read_lines(path, "trial list")
    if not len(lines.numbers):
        raise InputError(f"{path}: holds no trials; a line is 'label enrol test', such as '1 a/1.wav a/2.wav'")
    labels, pairs, utterances = _parse(lines)
    check_official_count(path.name, len(labels))
    return Trials(labels, pairs[:, 0].copy(), pairs[:, 1].copy(), utterances, lines.numbers, str(path))


def _parse(lines: Lines) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels `(n,)` int8, positions `(n, enrol and test)` int32 among the names, and the names."""
    encoded = lines.words("three")
    words, codes = encoded.dictionary, encoded.indices.to_numpy().reshape(-1, 3)
    is_kaldi = words[int(codes[0, 2])].as_py() in ("target", "nontarget")
    column, positive, negative = (2, "target", "nontarget") if is_kaldi else (0, "1", "0")
    labels = codes[:, column] == pc.index(words, positive).as_py()
    known = labels | (codes[:, column] == pc.index(words, negative).as_py())
    lines.check(known, f"label not {positive} or {negative}" if known[0] else FORMS)
    pairs = codes[:, :2] if is_kaldi else codes[:, 1:]
    is_name = np.bincount(pairs.reshape(-1), minlength=len(words)) > 0
    positions = (np.cumsum(is_name) - 1).astype(np.int32)
    return labels.astype(np.int8), positions[pairs], words.filter(pa.array(is_name)).to_pylist()


def check_official_count(name: str, count: int) -> None:
    """Refuse a list that is named like an official VoxCeleb1 list but has another number of trials.

    Args:
        name: file name, with or without suffix, such as "vox1_O-cleaned.txt" or "veri_test2.txt".
        count: its trials.

    Raises:
        InputError: naming both counts, and the list that has this count if there is one.
    """
    stem = name.split(".")[0].lower().replace("-", "_").replace("(", "_").replace(")", "")
    official = VOXCELEB_COUNTS.get(stem)
    if official is None or official == count:
        return
    others = [other for other, number in VOXCELEB_COUNTS.items() if number == count]
    hint = f"it has the count of {others[0]}: rename it so" if others else "get it anew, or rename it if it is another"
    raise InputError(f"{name}: holds {count:,} trials, but VoxCeleb's list of this name has {official:,}; {hint}")


def check_both_kinds(trials: Trials) -> None:
    """Refuse a list without targets or without non-targets: it has no error rates.

    Raises:
        InputError: saying which kind all trials are.
    """
    if trials.labels.all() or not trials.labels.any():
        kind = "target" if trials.labels.all() else "non-target"
        raise InputError(f"{trials.source}: all {len(trials):,} trials are {kind} trials; error rates need both kinds")


def write_trials(trials: Trials, path: str | Path) -> None:
    """Write VoxCeleb's form: `label enrol test`, one trial a line."""
    names = trials.utterances
    rows = zip(trials.labels.tolist(), trials.enrol.tolist(), trials.test.tolist(), strict=True)
    text = "".join(f"{label} {names[enrol]} {names[test]}\n" for label, enrol, test in rows)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(text.encode())  # no CRLF on any system


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
    pairs = np.concatenate([targets, nontargets])  # (n, 2)
    labels = np.repeat(np.array([1, 0], np.int8), [len(targets), len(nontargets)])
    shuffled = rng.permutation(len(pairs))
    pairs = rng.permuted(pairs[shuffled], axis=1)  # either side may be the enrolment
    names, inverse = _first_appearance(pairs, table["utterance"])
    lines = np.arange(1, len(pairs) + 1, dtype=np.int32)
    source = f"{len(pairs)} drawn trials (seed {seed})"
    return Trials(labels[shuffled], inverse[:, 0].copy(), inverse[:, 1].copy(), names, lines, source)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Strings as integers in order of first appearance: `(rows,)`."""
    return column.combine_chunks().dictionary_encode().indices.to_numpy()


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


def locate_utterances(trials: Trials, roots: list[Path]) -> list[Path]:
    """The audio file of each of `trials.utterances`, under the first root that has it.

    Where the listed file is missing, the same name with another audio suffix is taken: VoxCeleb's lists say .wav
    while trees hold .m4a or .flac.

    Raises:
        InputError: with the number of missing files, the first of them and their lines.
    """
    folders: dict[str, frozenset[str]] = {}
    found = [_locate(name, roots, folders) for name in trials.utterances]
    missing = [i for i, path in enumerate(found) if path is None]
    if missing:
        raise InputError(_missing_message(trials, missing, roots))
    return found


def _locate(name: str, roots: list[Path], folders: dict[str, frozenset[str]]) -> Path | None:
    """One listing of a folder (kept in `folders`) in place of a question to the disk for each possible suffix."""
    stem, suffix = os.path.splitext(name)
    stem = stem if suffix.lower() in AUDIO_SUFFIXES else name
    for root in roots:
        folder, listed = os.path.split(os.path.join(root, name))
        if folder not in folders:
            folders[folder] = frozenset(os.listdir(folder)) if os.path.isdir(folder) else frozenset()
        base = os.path.basename(stem)
        for candidate in (listed, *(base + suffix for suffix in AUDIO_SUFFIXES)):
            if candidate in folders[folder]:
                return Path(folder, candidate)
    return None


def _missing_message(trials: Trials, missing: list[int], roots: list[Path]) -> str:
    firsts = []
    for i in missing[:SHOWN]:
        rows = np.flatnonzero((trials.enrol == i) | (trials.test == i))
        firsts.append(f"{trials.utterances[i]} (line {trials.lines[rows[0]]})")
    more = ", ..." if len(missing) > SHOWN else ""
    tried = " or ".join(str(root) for root in roots) or "any folder, since none was given"
    return (
        f"{trials.source}: {len(missing)} of {len(trials.utterances)} utterances have no file under {tried}, "
        f"whatever the audio suffix: {', '.join(firsts)}{more}; give the folder that the list's names start from"
    )
