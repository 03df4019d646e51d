"""NumPy's `.npy`: the rows; beside it an index `.csv` (`utterance,speaker,split`) or `.txt` (a name a line)."""

import zipfile
from pathlib import Path

import numpy as np

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import Embeddings, checked
from speakerlab.data.lists import read_csv, read_lines
from speakerlab.data.manifest import replacing, write_rows

INDEX_COLUMNS = {
    "utterance": ("utterance", "name", "id", "path"),
    "speaker": ("speaker", "spk"),
    "split": ("split",),
}


def read(path: Path) -> Embeddings:
    """The rows and the names beside them; errors as in `checked`, and for a missing index."""
    rows = load_array(path)
    index = next((path.with_suffix(suffix) for suffix in (".csv", ".txt") if path.with_suffix(suffix).is_file()), None)
    if index is None:
        raise InputError(
            f"{path}: has no index beside it: write the utterances' names to {path.with_suffix('.txt').name}, one a "
            f"line in the order of the rows, or to {path.with_suffix('.csv').name} under the header utterance,speaker"
        )
    names, speakers, splits = _read_index(index)
    if len(names) != len(rows):
        raise InputError(f"{path}: has {len(rows):,} rows, but its index {index.name} names {len(names):,} utterances")
    return checked(names, rows, str(path), speakers, splits)


def write(path: Path, embeddings: Embeddings) -> None:
    """Both files."""
    index = path.with_suffix(".csv")
    # With new rows beside old names, a kill in between would leave a pair that looks right.
    index.unlink(missing_ok=True)
    with replacing(path) as draft, open(draft, "wb") as file:
        np.save(file, embeddings.rows)
    columns = {"utterance": embeddings.names, "speaker": embeddings.speakers, "split": embeddings.splits}
    there = {name: column for name, column in columns.items() if column is not None}
    write_rows(index, [there, *zip(*there.values(), strict=True)])


def load_array(path: Path) -> np.ndarray:
    """The array of a `.npy` file; one of Python objects is a pickle inside, and refused.

    Raises:
        InputError: if it can't be read.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise InputError(f"{path}: holds Python objects, which could run code; save an array of numbers") from error
        raise InputError(f"{path}: not a readable .npy file ({error})") from error
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable .npy file ({error})") from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise InputError(f"{path}: is an .npz archive of arrays; rename it")
    return found


def _read_index(path: Path) -> tuple[list[str], list[str] | None, list[str] | None]:
    """Names and, where the index has them, speakers and splits."""
    if path.suffix == ".txt":
        return read_lines(path, "index").rows.to_pylist(), None, None
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        header = [cell.strip().lower() for cell in file.readline().split(",")]
    columns = {
        column: names
        for column, names in INDEX_COLUMNS.items()
        if column == "utterance" or any(cell in names for cell in header)
    }
    _, found = read_csv(path, "index", columns)
    cells = {column: values.to_pylist() for column, values in zip(columns, found, strict=True)}
    return cells["utterance"], cells.get("speaker"), cells.get("split")
