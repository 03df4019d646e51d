"""What has been scored: the runs, checkpoints and files of scores that are to be compared."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data.development import run_folder
from speakerlab.data.lists import read_csv
from speakerlab.data.score_files import ScoreFile, read_scores

TRIALS, UTTERANCES = "trials", "utterances"  # what verification and identification are measured on
CHECKPOINTS = (".ckpt", ".pt", ".pth")
PREDICTIONS = {"utterance": ("utterance",), "speaker": ("speaker",), "predicted": ("predicted",), "rank": ("rank",)}


@dataclass(frozen=True)
class ScoredRun:
    """One of those that are compared.

    Attributes:
        given: what the user named.
        checkpoint: of the model; None where there are only scores.
        files: name of a list -> its file of scores or predictions.
        label: short, unlike the others'.
    """

    given: Path
    checkpoint: Path | None
    files: dict[str, Path]
    label: str = ""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Identified utterances, `(utterances,)` each: their names, who speaks, that and whom the model named as numbers,
    and the true one's rank."""

    names: pa.Array
    truth: pa.Array
    speakers: np.ndarray
    predicted: np.ndarray
    rank: np.ndarray

    def __len__(self) -> int:
        return len(self.rank)


@dataclass(frozen=True)
class Shared:
    """A list that all runs were scored on, in one order.

    Attributes:
        name: of the list.
        kind: `TRIALS` or `UTTERANCES`.
        scored: of each run, a `ScoreFile` or `Predictions`.
        rows: of each run, `(items,)`, which bring it into the first one's order.
    """

    name: str
    kind: str
    scored: tuple
    rows: tuple[np.ndarray, ...]


def find_runs(given: Sequence[str]) -> list[ScoredRun]:
    """Each argument as a run, with a label that tells it from the others.

    Raises:
        InputError: for fewer than two, one that is given twice, or one that has nothing to compare.
    """
    if len(given) < 2:
        raise InputError("give two or more runs, checkpoints or files of scores to compare")
    runs = [find_run(one) for one in given]
    return [
        ScoredRun(run.given, run.checkpoint, run.files, label)
        for run, label in zip(runs, labels_of([run.given for run in runs]), strict=True)
    ]


def find_run(given: str) -> ScoredRun:
    """What one argument stands for: a run's folder, a checkpoint or a file of scores.

    Raises:
        InputError: if it is none of these, or nothing was scored with it.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        names = ("best.ckpt", "last.ckpt")
        checkpoint = next(
            (path / "checkpoints" / name for name in names if (path / "checkpoints" / name).is_file()), None
        )
        files = scored_files(path)
        if checkpoint is None and not files:
            raise InputError(f"{given}: this folder holds neither checkpoints/ nor scores/; give a run's folder")
    elif path.suffix not in CHECKPOINTS and path.is_file():
        if kind_of(path) is None:
            raise InputError(f"{given}: holds neither scores of trials nor predictions")
        return ScoredRun(path, None, {list_of(path): path})
    elif path.is_file():
        checkpoint, folder = path, run_folder(path.absolute()) or Path("outputs", "evaluate", path.stem)
        every = scored_files(folder)
        files = {name: file for name, file in every.items() if _scored_by(folder, name) in (None, path.name)}
        if every and not files:
            others = sorted({str(_scored_by(folder, name)) for name in every})
            raise InputError(f"{given}: the scores in {folder / 'scores'} are of {', '.join(others)}; {_advice(given)}")
    else:
        raise InputError(f"{given}: there is no such folder, checkpoint or file of scores")
    if not files:
        raise InputError(f"{given}: nothing was scored with it yet; {_advice(given)}")
    return ScoredRun(path, checkpoint, files)


def scored_files(folder: Path) -> dict[str, Path]:
    """The files of scores and predictions of a run, by name of the list; CSV before text of the same name."""
    found = [*sorted((folder / "scores").glob("*.txt")), *sorted((folder / "scores").glob("*.csv"))]
    return {list_of(path): path for path in found if kind_of(path) is not None}


def list_of(path: Path) -> str:
    """The name of the list that a file of scores or predictions is over."""
    return path.stem.removesuffix("_predictions")


def kind_of(path: Path) -> str | None:
    """`TRIALS` or `UTTERANCES`, by a file's first line; None for a file of another kind."""
    with open(path, encoding="utf-8", errors="replace") as file:
        line = file.readline().strip()
    header = [cell.strip().strip('"').lower() for cell in line.split(",")]
    if {"utterance", "predicted", "rank"} <= set(header):
        return UTTERANCES
    return TRIALS if "score" in header or len(line.split()) in (3, 4) else None


def labels_of(paths: Sequence[Path]) -> list[str]:
    """As short names as tell the paths apart: a run's folder by its name, or its name and date; else ends of paths.

    Raises:
        InputError: if a path is given twice.
    """
    every = [path.absolute() for path in paths]
    for path in every:
        if every.count(path) > 1:
            raise InputError(f"{path}: given twice")
    named = [path.parent.name if path.is_dir() else path.name for path in every]
    if len(set(named)) == len(named):
        return named
    depth = 2
    while len({path.parts[-depth:] for path in every}) < len(every):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in every]


def find_shared(runs: Sequence[ScoredRun]) -> tuple[list[Shared], list[str]]:
    """The lists that all runs were scored on, and a line about each that only some were, or that has several names.

    Lists are the same if they have the same items, whatever the files are called and in whatever order they are; but
    where a run has several files over the same items, by several ways of scoring, those of one name belong together,
    and none serves twice.

    Raises:
        InputError: if there is none.
    """
    shared, reasons, names = [], [], []
    used: set[Path] = set()
    for name, path in runs[0].files.items():
        kind = kind_of(path)
        first = _read(path, kind)
        taken = used | {run.files[other] for run in runs[1:] for other in run.files if other in runs[0].files}
        others = [_same_list(first, kind, name, run, taken) for run in runs[1:]]
        if all(not isinstance(other, str) for other in others):
            files, scored, rows = zip((path, first, np.arange(len(first))), *others, strict=True)
            used.update(files)
            shared.append(Shared(name, kind, scored, rows))
            names += [
                f"{name} is {list_of(file)} of {run.label}"
                for run, file in zip(runs, files, strict=True)
                if list_of(file) != name and run.given != file
            ]
        else:
            reasons.append(f"{runs[0].label}: {next(other for other in others if isinstance(other, str))}")
    for run in runs[1:]:
        left = [name for name, path in run.files.items() if path not in used and name not in runs[0].files]
        reasons += [f"{name} was scored by {run.label} and not by {runs[0].label}" for name in left]
    if not shared:
        raise InputError(
            f"the runs were scored on different lists: {'; '.join(reasons)}. Score them on one list first: "
            "python evaluate.py ckpt=RUN trials=LIST trials_root=FOLDER"
        )
    return shared, [*names, *(f"not compared: {reason}" for reason in reasons)]


def _same_list(first, kind: str, name: str, run: ScoredRun, taken: set[Path]) -> tuple | str:
    """The file of this run over the same items, what it holds and the rows in the first one's order; or why not. Of
    the files that are taken, only that of the same name serves."""
    reason = f"{name} was not scored by {run.label}"
    files = sorted(run.files.items(), key=lambda item: item[0] != name)  # the same name first
    for other, path in files:
        if kind_of(path) != kind or (other != name and path in taken):
            continue
        found = _read(path, kind)
        rows, difference = _aligned(first, found, kind)
        if rows is not None:
            return path, found, rows
        if other == name:
            reason = f"{name} of {run.label} is another list: {difference}"
    return reason


def _aligned(first, second, kind: str) -> tuple[np.ndarray | None, str]:
    """Rows of the second in the first one's order, `(items,)`; None and the difference where the items differ."""
    if len(first) != len(second):
        return None, f"{len(first):,} and {len(second):,} {kind}"
    one, two = _keys(first), _keys(second)
    if one.equals(two):
        return np.arange(len(one)), ""
    places = pc.index_in(one, value_set=two)
    if places.null_count:
        item = one[pc.index(pc.is_null(places), True).as_py()].as_py()
        return None, f"{item.replace(chr(10), ' ')!r} is only in the first"
    if pc.count_distinct(places).as_py() < len(places):
        return None, "an item stands several times"
    return places.to_numpy().astype(np.int64), ""


def _keys(scored) -> pa.Array:
    """A string an item: a trial's pair and label, or an utterance and who speaks."""
    if isinstance(scored, ScoreFile):
        columns = [scored.enrol, scored.test, _labels(scored)]
    else:
        columns = [scored.names, scored.truth]
    texts = [column.cast(pa.large_string()) for column in columns]
    return pc.binary_join_element_wise(*texts, pa.scalar("\n", pa.large_string()))


def _labels(scored: ScoreFile) -> pa.Array:
    if scored.labels is None:
        raise InputError(f"{scored.source}: says of no trial whether it is a target; give a file with labels")
    return pa.array(scored.labels)


def _read(path: Path, kind: str) -> ScoreFile | Predictions:
    return read_scores(path) if kind == TRIALS else read_predictions(path)


def read_predictions(path: Path) -> Predictions:
    """What `evaluate.py` writes of an identification.

    Raises:
        InputError: if a column is missing, or a rank is no number.
    """
    lines, (names, speakers, predicted, rank) = read_csv(path, "file of predictions", PREDICTIONS)
    everyone = pc.unique(pa.chunked_array([speakers, predicted]))
    numbers = [pc.index_in(column, value_set=everyone).to_numpy().astype(np.int64) for column in (speakers, predicted)]
    lines.check(pc.match_substring_regex(rank, r"^\d+$").to_numpy(zero_copy_only=False), "the rank is no number")
    return Predictions(names, speakers, *numbers, rank.cast(pa.int64()).to_numpy())


def _scored_by(folder: Path, name: str) -> str | None:
    """The file name of the checkpoint that a list was last scored with, as the folder's table of results says."""
    path = folder / "metrics" / "test_metrics.csv"
    if not path.is_file():
        return None
    with open(path, newline="", encoding="utf-8") as file:
        by_list = {Path(row.get("trials") or "").stem: Path(row["checkpoint"]).name for row in csv.DictReader(file)}
    # Files of scores are named after the list and the way of scoring.
    lists = [one for one in by_list if name == one or name.startswith(f"{one}_")]
    return by_list[max(lists, key=len)] if lists else None


def _advice(given: str) -> str:
    return f"evaluate it first: python evaluate.py ckpt={given}"
