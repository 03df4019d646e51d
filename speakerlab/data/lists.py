"""Text files of one item a line: trial lists and split lists, in columns separated by spaces or tabs, or as CSV."""

import codecs
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError


@dataclass(frozen=True, eq=False)
class Lines:
    """A file's lines that are not blank.

    Attributes:
        rows: `(n,)` strings without surrounding space.
        numbers: `(n,)` int32, their line numbers in the file, from 1.
        path: of the file; for messages.
    """

    rows: pa.Array
    numbers: np.ndarray
    path: Path

    def words(self, columns: str) -> pa.DictionaryArray:
        """All words, line after line: `(n * columns,)`; strings are met once, the rest is done on their numbers.

        Args:
            columns: how many, as a word: "two" or "three".

        Raises:
            InputError: if a line has another number of words.
        """
        split = pc.ascii_split_whitespace(self.rows)
        count = {"two": 2, "three": 3}[columns]
        fits = pc.equal(pc.list_value_length(split), count).to_numpy(zero_copy_only=False)
        self.check(fits, f"not {columns} columns")
        return split.flatten().dictionary_encode()

    def check(self, good: np.ndarray, problem: str) -> None:
        """InputError with the first line that is not `good`, a mask of shape `(n,)`."""
        bad = np.flatnonzero(~good)
        if len(bad):
            line = self.rows[int(bad[0])].as_py()
            shown = line if len(line) <= 100 else f"{line[:100]}..."
            others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise InputError(f"{self.path}, line {self.numbers[bad[0]]}: {problem}: {shown!r}{others}")


def read_lines(path: Path, what: str) -> Lines:
    """The lines of a file of `what`, such as "trial list", with or without a byte-order mark.

    Raises:
        InputError: if the file can't be read or is no text.
    """
    rows = pc.ascii_trim_whitespace(_views(path, what))
    filled = pc.not_equal(rows, "").to_numpy(zero_copy_only=False)
    return Lines(rows.filter(pa.array(filled)), np.flatnonzero(filled).astype(np.int32) + 1, path)


def read_csv(path: Path, what: str, columns: dict[str, tuple[str, ...]]) -> tuple[Lines, list[pa.Array]]:
    """The lines of a CSV file under its header, and the cells `(lines,)` of each wanted column.

    Args:
        path: comma-separated, in UTF-8; cells may be quoted, but end with their line.
        what: for messages, such as "trial list".
        columns: name of each wanted column -> the headers that mean it, in lower case.

    Raises:
        InputError: if the file can't be read, the header lacks a column, or a line has another number of cells.
    """
    every = read_lines(path, what)
    try:
        cells = _cells(every.rows)
    except csv.Error as error:
        raise InputError(f"{path}: the {what} is no CSV with a line an item ({error})") from error
    if len(cells) < len(every.rows):
        raise InputError(f"{path}: the {what} is no CSV with a line an item (a quotation does not end in its line)")
    header = [cell.strip().lower() for cell in cells[0].as_py()] if len(cells) else []
    places = []
    for name, known in columns.items():
        place = next((header.index(alias) for alias in known if alias in header), None)
        if place is None:
            raise InputError(
                f"{path}, line 1: the header has no column {name} ({' or '.join(known)}): {','.join(header)[:100]!r}"
            )
        places.append(place)
    whole = pc.equal(pc.list_value_length(cells), len(header)).to_numpy(zero_copy_only=False)
    every.check(whole, f"not {len(header)} columns")
    wanted = [pc.utf8_trim_whitespace(pc.list_element(cells, place))[1:] for place in places]
    return Lines(every.rows[1:], every.numbers[1:], path), wanted


def _cells(rows: pa.Array) -> pa.Array:
    """The cells of each line of CSV: `(lines,)` lists of strings. Quotes are rare, and ten times as slow."""
    if not pc.any(pc.match_substring(rows, '"')).as_py():
        return pc.split_pattern(rows, ",")
    return pa.array(csv.reader(rows.to_pylist()), pa.list_(pa.large_string()))


def _views(path: Path, what: str) -> pa.Array:
    """The file's lines, their ends included, as a view of its bytes: a fifth of the time of Python strings."""
    try:
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
        data.decode()
    except OSError as error:
        raise InputError(f"{path}: the {what} can't be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a {what} in UTF-8 text (byte {error.start}); check the path") from error
    newlines = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    offsets = np.concatenate([[0], newlines + 1, [len(data)]]).astype(np.int64)
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))
