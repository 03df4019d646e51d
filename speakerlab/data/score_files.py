"""Files of scores: CSV with a header, or text `label enrol test score`, or Kaldi's `enrol test score`."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from speakerlab import InputError
from speakerlab.data.lists import Lines, read_csv, read_lines
from speakerlab.data.manifest import replacing
from speakerlab.data.trials import CSV_COLUMNS, LABEL_WORDS, Trials

TEXT_FORMS = "neither 'label enrol test score' nor 'enrol test score', such as '1 a/1.wav a/2.wav 0.73'"


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """Scored pairs of utterances.

    Attributes:
        enrol, test: `(n,)` names.
        scores: `(n,)` float64.
        labels: `(n,)` int8, 1 for the same speaker; None where the file has none.
        llrs: `(n,)` float64, calibrated; None where the file has none.
        source: the file's path, for messages.
    """

    enrol: pa.Array
    test: pa.Array
    scores: np.ndarray
    labels: np.ndarray | None
    llrs: np.ndarray | None
    source: str

    def __len__(self) -> int:
        return len(self.scores)

    def trials(self) -> Trials:
        """The pairs as a trial list.

        Raises:
            InputError: if the file has no labels.
        """
        if self.labels is None:
            raise InputError(f"{self.source}: says of no trial whether it is a target; add trials=LIST")
        codes = pa.chunked_array([self.enrol, self.test]).dictionary_encode().unify_dictionaries()
        enrol, test = (chunk.indices.to_numpy().astype(np.int32) for chunk in codes.chunks)
        names = codes.chunk(0).dictionary.to_pylist()
        return Trials(self.labels, enrol, test, names, np.arange(1, len(self) + 1, dtype=np.int32), self.source)


def write_scores(path: Path, trials: Trials, scores: np.ndarray, llrs: np.ndarray | None = None) -> None:
    """CSV with the columns label, enrol, test, score and, where there are any, llr, in the list's order.

    Numbers are written to the last digit that their type has, so that reading them back gives the same error rates.

    Args:
        path: its folder is made if need be.
        trials: the list.
        scores: `(trials,)`.
        llrs: `(trials,)` calibrated log-likelihood ratios.
    """
    names = pa.array(trials.utterances, pa.string())
    columns = {
        "label": pa.array(trials.labels),
        "enrol": names.take(pa.array(trials.enrol)),
        "test": names.take(pa.array(trials.test)),
        "score": pa.array(scores),
    }
    if llrs is not None:
        columns["llr"] = pa.array(llrs)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    with replacing(path) as draft:
        if pc.any(pc.match_substring_regex(names, '[",\r\n]')).as_py():
            with open(draft, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(table.column_names)
                writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
        else:  # a tenth of the time
            with open(draft, "wb") as file:
                file.write(f"{','.join(table.column_names)}\n".encode())
                options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
                pyarrow.csv.write_csv(table, file, options)


def read_scores(path: str | Path) -> ScoreFile:
    """Read what `write_scores` writes, any CSV with these columns (label and llr may be missing), or text.

    Raises:
        InputError: if the file is missing or no text, holds no scores, or has a line of another form, an unknown label
            or a score that is no finite number.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path}: there is no such file of scores")
    lines, columns = _from_csv(path) if path.suffix.lower() == ".csv" else _from_text(path)
    if not len(lines.numbers):
        raise InputError(f"{path}: holds no scores")
    label, llr = columns.get("label"), columns.get("llr")
    return ScoreFile(
        columns["enrol"],
        columns["test"],
        _numbers(lines, columns["score"]),
        None if label is None else _labels(lines, label),
        None if llr is None else _numbers(lines, llr),
        str(path),
    )


def in_order_of(scored: ScoreFile, enrol: Sequence[str], test: Sequence[str], source: str) -> np.ndarray:
    """The row of a score file for each pair of a list, `(pairs,)`.

    Args:
        scored: any order; it may have more pairs.
        enrol, test: `(pairs,)` names.
        source: of the list, for messages.

    Raises:
        InputError: if the file lacks a pair, with how many.
    """
    enrol, test = pa.array(enrol, pa.large_string()), pa.array(test, pa.large_string())
    have = [column.cast(pa.large_string()) for column in (scored.enrol, scored.test)]
    if enrol.equals(have[0]) and test.equals(have[1]):
        return np.arange(len(scored))
    # A name never has a line's end in it.
    rows = pc.index_in(_joined(enrol, test), value_set=_joined(*have))
    if rows.null_count:
        first = pc.index(pc.is_null(rows), True).as_py()
        raise InputError(
            f"{scored.source}: has no score for {rows.null_count:,} of the {len(rows):,} trials of {source}, "
            f"such as {enrol[first]} {test[first]}"
        )
    return rows.to_numpy().astype(np.int64)


def _joined(first: pa.Array, second: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(first, second, pa.scalar("\n", pa.large_string()))


def _from_csv(path: Path) -> tuple[Lines, dict[str, pa.Array]]:
    known = {**CSV_COLUMNS, "score": ("score",), "llr": ("llr",)}
    with open(path, "rb") as file:
        header = [cell.strip().strip('"').lower() for cell in file.readline().decode("utf-8-sig", "replace").split(",")]
    optional = {"label", "llr"}
    wanted = {name: words for name, words in known.items() if name not in optional or set(words) & set(header)}
    lines, columns = read_csv(path, "file of scores", wanted)
    return lines, dict(zip(wanted, columns, strict=True))


def _from_text(path: Path) -> tuple[Lines, dict[str, pa.Array]]:
    lines = read_lines(path, "file of scores")
    words = pc.ascii_split_whitespace(lines.rows)
    count = pc.list_value_length(words[:1]).to_pylist()
    names = {(4,): ("label", "enrol", "test", "score"), (3,): ("enrol", "test", "score")}.get(tuple(count), ())
    fits = pc.equal(pc.list_value_length(words), len(names)).to_numpy(zero_copy_only=False)
    lines.check(fits, TEXT_FORMS if not names else f"not {len(names)} columns, as the first line has")
    return lines, {name: pc.list_element(words, place) for place, name in enumerate(names)}


def _labels(lines: Lines, words: pa.Array) -> np.ndarray:
    places = pc.index_in(pc.utf8_lower(words), value_set=pa.array(list(LABEL_WORDS), words.type))
    digits = pc.coalesce(pa.array(LABEL_WORDS.values(), words.type).take(places), words)
    is_target = pc.equal(digits, "1").to_numpy(zero_copy_only=False)
    lines.check(is_target | pc.equal(digits, "0").to_numpy(zero_copy_only=False), "label not 1 or 0")
    return is_target.astype(np.int8)


def _numbers(lines: Lines, words: pa.Array) -> np.ndarray:
    try:
        values = pc.cast(words, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        values = np.array([_number(word) for word in words.to_pylist()])
    lines.check(np.isfinite(values), "the score is no finite number")
    return values


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")
