"""Trial lists: which pairs of utterances to compare, and whether they share a speaker.

VoxCeleb's form is `label enrol test` with label 1 (same speaker) or 0; Kaldi's is `enrol test target|nontarget`; a
CSV file has a header with these three names.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data.audio import AUDIO_SUFFIXES
from speakerlab.data.lists import Lines, read_csv, read_lines
from speakerlab.data.manifest import MANIFEST, files_of, read_manifest, replacing
from speakerlab.data.utterance_names import rows_named, without_suffix

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
LABEL_WORDS = {"target": "1", "nontarget": "0", "true": "1", "false": "0"}
CSV_COLUMNS = {
    "label": ("label", "target", "key"),
    "enrol": ("enrol", "enroll", "enrolment", "enrollment"),
    "test": ("test",),
}
WRITTEN_FORMS = ("voxceleb", "kaldi", "csv")
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


def only_between(trials: Trials, kept: Sequence[bool]) -> Trials:
    """The trials both of whose utterances are `kept`, a choice for each of `trials.utterances`."""
    kept = np.asarray(kept, bool)
    rows = kept[trials.enrol] & kept[trials.test]
    both = np.stack([trials.enrol[rows], trials.test[rows]], axis=1)  # (trials, 2)
    # Among those that are left, others may come first than among all.
    order = list(dict.fromkeys(both.ravel().tolist()))
    places = np.zeros(len(trials.utterances), np.int32)
    places[order] = np.arange(len(order))
    pairs = [places[column] for column in both.T]
    names = [trials.utterances[place] for place in order]
    return Trials(trials.labels[rows], *pairs, names, trials.lines[rows], trials.source)


def read_trials(path: str | Path) -> Trials:
    """Read a list: columns separated by spaces or tabs, in either form, or a file `.csv` with a header. Blank lines are
    skipped.

    Raises:
        InputError: if the file is missing, is no text, holds no trials, has a line of another form (with its number),
            or carries the name of an official VoxCeleb list without having its number of trials.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        lines, (label, enrol, test) = read_csv(path, "trial list", CSV_COLUMNS)
        places = pc.index_in(pc.utf8_lower(label), value_set=pa.array(list(LABEL_WORDS)))
        label = pc.coalesce(pa.array(LABEL_WORDS.values()).take(places), label)
        by_line = np.arange(3 * len(label)).reshape(3, -1).T.reshape(-1)
        encoded = pa.concat_arrays([label, enrol, test]).take(pa.array(by_line)).dictionary_encode()
        is_csv = True
    else:
        lines, is_csv = read_lines(path, "trial list"), False
        encoded = lines.words("three")
    if not len(lines.numbers):
        raise InputError(f"{path}: holds no trials; a line is 'label enrol test', such as '1 a/1.wav a/2.wav'")
    labels, pairs, utterances = _parse(lines, encoded, is_csv)
    check_official_count(path.name, len(labels))
    return Trials(labels, pairs[:, 0].copy(), pairs[:, 1].copy(), utterances, lines.numbers, str(path))


def _parse(lines: Lines, encoded: pa.DictionaryArray, is_csv: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels `(n,)` int8, positions `(n, enrol and test)` int32 among the names, and the names.

    Args:
        lines: for messages.
        encoded: `(3 n,)` words, line after line.
        is_csv: label, enrol and test are in this order.
    """
    words, codes = encoded.dictionary, encoded.indices.to_numpy().reshape(-1, 3)
    is_kaldi = not is_csv and words[int(codes[0, 2])].as_py() in ("target", "nontarget")
    column, positive, negative = (2, "target", "nontarget") if is_kaldi else (0, "1", "0")
    labels = codes[:, column] == pc.index(words, positive).as_py()
    known = labels | (codes[:, column] == pc.index(words, negative).as_py())
    lines.check(known, f"label not {positive} or {negative}" if known[0] or is_csv else FORMS)
    pairs = codes[:, :2] if is_kaldi else codes[:, 1:]
    empty = pc.index(words, "").as_py()
    lines.check((pairs != empty).all(axis=1), "no name of an utterance")
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
    official = VOXCELEB_COUNTS.get(_stem(name))
    if official is None or official == count:
        return
    others = [other for other, number in VOXCELEB_COUNTS.items() if number == count]
    hint = f"it has the count of {others[0]}: rename it so" if others else "get it anew, or rename it if it is another"
    raise InputError(f"{name}: holds {count:,} trials, but VoxCeleb's list of this name has {official:,}; {hint}")


def _stem(name: str) -> str:
    """A list's name as `VOXCELEB_COUNTS` has it."""
    return name.split(".")[0].lower().replace("-", "_").replace("(", "_").replace(")", "")


def check_both_kinds(trials: Trials) -> None:
    """Refuse a list without targets or without non-targets: it has no error rates.

    Raises:
        InputError: saying which kind all trials are.
    """
    if trials.labels.all() or not trials.labels.any():
        kind = "target" if trials.labels.all() else "non-target"
        raise InputError(f"{trials.source}: all {len(trials):,} trials are {kind} trials; error rates need both kinds")


def write_trials(trials: Trials, path: str | Path, form: str = "voxceleb") -> None:
    """Write one trial a line.

    Args:
        trials: any.
        path: its folder is made if need be.
        form: "voxceleb" (`label enrol test`), "kaldi" (`enrol test target|nontarget`) or "csv" (a header, then
            `label,enrol,test`).

    Raises:
        InputError: for a name with a space in it, which only CSV can hold, or a line break, which no list can.
    """
    names = trials.utterances
    broken = [name for name in names if len(f"{name}.".splitlines()) > 1]
    if broken:
        raise InputError(f"{path}: {len(broken)} names have line breaks, such as {broken[0]!r}; rename the files")
    if form != "csv":
        spaced = [name for name in names if name.split() != [name]]
        if spaced:
            raise InputError(
                f"{path}: {len(spaced)} names have spaces, such as {spaced[0]!r}; write a CSV list instead"
            )
    labels, enrol, test = (column.tolist() for column in (trials.labels, trials.enrol, trials.test))
    rows = zip(labels, [names[i] for i in enrol], [names[i] for i in test], strict=True)
    text = io.StringIO(newline="")  # no CRLF on any system
    if form == "csv":
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        writer.writerows(rows)
    elif form == "kaldi":
        text.writelines(f"{first} {second} {'target' if label else 'nontarget'}\n" for label, first, second in rows)
    else:
        text.writelines(f"{label} {first} {second}\n" for label, first, second in rows)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(text.getvalue().encode())


def rename_utterances(trials: Trials, strip: str, add: str, suffix: str | None) -> Trials:
    """The trials under other names.

    Args:
        trials: any.
        strip: taken from the front of every name.
        add: put in front of what is left.
        suffix: in place of each audio suffix, such as ".flac" or ""; None keeps them.

    Raises:
        InputError: if a name does not begin with `strip`, or two names would become one.
    """
    strange = [i for i, name in enumerate(trials.utterances) if not name.startswith(strip)]
    if strange:
        line = trials.lines[np.flatnonzero((trials.enrol == strange[0]) | (trials.test == strange[0]))[0]]
        raise InputError(
            f"{trials.source}, line {line}: {trials.utterances[strange[0]]!r} does not begin with {strip!r}, "
            f"nor do {len(strange) - 1} of the other {len(trials.utterances) - 1} names"
        )
    names = [name.removeprefix(strip) for name in trials.utterances]
    if suffix is not None:
        names = [name + suffix for name in without_suffix(pa.array(names, pa.string())).to_pylist()]
    names = [add + name for name in names]
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise InputError(f"{trials.source}: two utterances would both be called {twice!r}")
    return replace(trials, utterances=names)


def find_list(given: str, roots: list[Path]) -> Path:
    """The file that `trials=` means: a path, a path below a root or its folder `trials`, or the name of an official
    VoxCeleb1 list there, such as `vox1_o_cleaned`.

    Raises:
        InputError: saying where was looked.
    """
    path = Path(given).expanduser()
    count = VOXCELEB_COUNTS.get(_stem(given))
    stems = [name for name, number in VOXCELEB_COUNTS.items() if number == count] if path.name == given else []
    names = [given, *(f"{stem}.txt" for stem in stems)]
    places = [path, *(folder / name for root in roots for folder in (root / "trials", root) for name in names)]
    for place in places:
        if place.is_file():
            return place
    looked = f" as {', '.join(names)}" if len(names) > 1 else ""
    where = " or ".join(str(root / "trials") for root in roots)
    raise InputError(
        f"trials={given}: there is no such file{f', nor in {where}{looked}' if roots else ''}; "
        "give a list's path, or as trials_root the folder that holds it"
    )


def find_trials_and_files(given: str, roots: list[Path]) -> tuple[Trials, list[Path]]:
    """The list that `trials=` means (see `find_list`), and the audio file of each utterance in it.

    Without roots, the audio is below the list's own folder.
    """
    path = find_list(given, roots)
    trials = read_trials(path)
    return trials, locate_utterances(trials, roots or [path.parent])


def locate_utterances(trials: Trials, roots: list[Path]) -> list[Path]:
    """The audio file of each of `trials.utterances`, under the first root that has it.

    In a root with a manifest.parquet the names are its utterances, in any other they are paths. Where the listed file
    is missing, the same name with another audio suffix is taken: VoxCeleb's lists say .wav while trees hold .m4a or
    .flac.

    Raises:
        InputError: with the number of missing files, the first of them and their lines.
    """
    found: list[Path | None] = [None] * len(trials.utterances)
    folders: dict[str, frozenset[str]] = {}
    for root in roots:
        left = [i for i, path in enumerate(found) if path is None]
        names = [trials.utterances[i] for i in left]
        if (root / MANIFEST).is_file():
            table = read_manifest(root / MANIFEST)
            rows = rows_named(table, names)
            files = iter(files_of(table, rows[rows >= 0]))
            there = [next(files) if row >= 0 else None for row in rows.tolist()]
        else:
            there = [_locate(name, root, folders) for name in names]
        for i, path in zip(left, there, strict=True):
            found[i] = path
    missing = [i for i, path in enumerate(found) if path is None]
    if missing:
        raise InputError(_missing_message(trials, missing, roots))
    return found


def _locate(name: str, root: Path, folders: dict[str, frozenset[str]]) -> Path | None:
    """One listing of a folder (kept in `folders`) in place of a question to the disk for each possible suffix."""
    stem, suffix = os.path.splitext(name)
    stem = stem if suffix.lower() in AUDIO_SUFFIXES else name
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
