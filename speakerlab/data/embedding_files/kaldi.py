"""Kaldi's archives: `.ark` of vectors, binary or text, and `.scp` that says where in them each is.

Speakers come from a file `utt2spk` beside them, if there is one; splits from `utt2split`, which is this program's own.
"""

import struct
from pathlib import Path

import numpy as np

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import Embeddings, checked
from speakerlab.data.lists import read_lines
from speakerlab.data.manifest import replacing

TYPES = {b"FV ": ("<f4", 1), b"DV ": ("<f8", 1), b"FM ": ("<f4", 2), b"DM ": ("<f8", 2)}  # numbers, sizes that precede
SPEAKERS, SPLITS = "utt2spk", "utt2split"


def read(path: Path) -> Embeddings:
    """An archive, or the vectors that a `.scp` points to; errors as in `checked`, and for damaged archives."""
    names, vectors = _read_script(path) if path.suffix == ".scp" else _read_archive(path)
    told = [
        _read_column(path.with_name(file), names, kind) for file, kind in ((SPEAKERS, "speaker"), (SPLITS, "split"))
    ]
    return checked(names, vectors, str(path), *told)


def write(path: Path, embeddings: Embeddings) -> None:
    """A binary archive of float vectors, its `.scp`, and `utt2spk` and `utt2split` where those are known."""
    columns = {SPEAKERS: embeddings.speakers, SPLITS: embeddings.splits}
    words = [word for column in (embeddings.names, *columns.values()) for word in column or ()]
    spaced = [name for name in words if name.split() != [name]]
    if spaced:
        raise InputError(f"{path}: Kaldi's names can't hold spaces, but {spaced[0]!r} does; take another format")
    archive, script = path.with_suffix(".ark"), path.with_suffix(".scp")
    for stale in (script, *map(path.with_name, columns)):
        stale.unlink(missing_ok=True)
    head = b"\0BFV \4" + struct.pack("<i", embeddings.rows.shape[1])
    lines = []
    with replacing(archive) as draft, open(draft, "wb") as file:
        for name, row in zip(embeddings.names, embeddings.rows, strict=True):
            file.write(name.encode() + b" ")
            lines.append(f"{name} {archive.absolute()}:{file.tell()}\n")
            file.write(head + row.astype("<f4").tobytes())
    with replacing(script) as draft:
        draft.write_text("".join(lines), encoding="utf-8")
    for file, column in columns.items():
        if column is not None:
            pairs = zip(embeddings.names, column, strict=True)
            with replacing(path.with_name(file)) as draft:
                draft.write_text("".join(f"{name} {value}\n" for name, value in pairs), encoding="utf-8")


def _read_archive(path: Path) -> tuple[list[str], list[np.ndarray]]:
    data, place = _bytes(path), 0
    names, vectors = [], []
    while place < len(data):
        space = data.find(b" ", place)
        if space < 0:
            if not data[place:].strip():
                break
            raise InputError(f"{path}: is cut off or no Kaldi archive, at byte {place:,}")
        try:
            names.append(data[place:space].strip().decode())
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: is no Kaldi archive: byte {place:,} begins no name in UTF-8") from error
        vector, place = _vector(data, space + 1, path)
        vectors.append(vector)
    return names, vectors


def _read_script(path: Path) -> tuple[list[str], list[np.ndarray]]:
    """Lines `name archive:offset`; an archive that is not where the line says is looked for beside the script."""
    lines = read_lines(path, "Kaldi script")
    archives: dict[str, bytes] = {}
    names, vectors = [], []
    for number, line in zip(lines.numbers, lines.rows.to_pylist(), strict=True):
        name, _, place = line.partition(" ")
        archive, colon, offset = place.strip().rpartition(":")
        if not colon or not offset.isdecimal() or "|" in place:
            raise InputError(f"{path}, line {number}: {line[:100]!r} is not 'name archive.ark:offset'")
        if archive not in archives:
            given = Path(archive)
            archives[archive] = _bytes(given if given.is_file() else path.with_name(given.name))
        names.append(name)
        vectors.append(_vector(archives[archive], int(offset), f"{path}, line {number}")[0])
    return names, vectors


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error


def _vector(data: bytes, place: int, source: Path | str) -> tuple[np.ndarray, int]:
    """The numbers that begin at a place, `(dim,)` or `(rows, dim)`, and where they end."""
    if data[place : place + 2] == b"\0B":
        return _binary(data, place + 2, source)
    opened, closed = data.find(b"[", place), data.find(b"]", place)
    if opened < 0 or closed < opened or data[place:opened].strip():
        raise InputError(f"{source}: is cut off or no Kaldi archive, at byte {place:,}")
    rows = [line.split() for line in data[opened + 1 : closed].splitlines() if line.strip()]
    try:
        numbers = np.array(rows, np.float64)
    except ValueError as error:
        raise InputError(f"{source}: what stands at byte {place:,} are no rows of numbers") from error
    end = data.find(b"\n", closed)
    return numbers[0] if len(numbers) == 1 else numbers, len(data) if end < 0 else end + 1


def _binary(data: bytes, place: int, source: Path | str) -> tuple[np.ndarray, int]:
    kind = TYPES.get(data[place : place + 3])
    if kind is None:
        raise InputError(
            f"{source}: at byte {place:,} begins {data[place : place + 3]!r}, which is no vector of Kaldi's (FV, DV)"
        )
    number, sizes = kind
    try:
        shape = [struct.unpack_from("<Bi", data, place + 3 + 5 * i)[1] for i in range(sizes)]
        if min(shape) < 0:
            raise ValueError("a negative size, which NumPy would take for all that is left")
        begin = place + 3 + 5 * sizes
        numbers = np.frombuffer(data, number, int(np.prod(shape)), begin).reshape(shape)
    except (struct.error, ValueError) as error:
        raise InputError(f"{source}: is cut off or damaged at byte {place:,}") from error
    return numbers, begin + numbers.nbytes


def _read_column(path: Path, names: list[str], kind: str) -> list[str] | None:
    """The speaker or the split of each utterance, by a file that may be there."""
    if not path.is_file():
        return None
    words = read_lines(path, f"list of {kind}s").words("two").to_pylist()
    known = dict(zip(words[::2], words[1::2], strict=True))
    lost = [name for name in names if name not in known]
    if lost:
        raise InputError(f"{path}: says no {kind} of {len(lost):,} of {len(names):,} utterances, such as {lost[0]}")
    return [known[name] for name in names]
