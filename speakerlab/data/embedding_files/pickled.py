"""Pickles of embeddings, read without running what a pickle may hold.

A pickle is a program: `pickle.load` on a stranger's file runs their code. Here nothing of Python or NumPy is called at
a file's command: what NumPy's arrays are pickled by is answered by stand-ins of this file, which take raw numbers and
texts only, and every other name in the file is refused. NumPy's own functions would not do: `dtype.__setstate__` lets
a file declare bytes to be pointers to objects.
"""

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import Embeddings, checked
from speakerlab.data.embedding_files.npz import NAMES
from speakerlab.data.manifest import replacing

PLAIN = re.compile(r"([<>=|]?)(b1|[iu][1248]|f[248]|[SU]\d{1,6}|O8?)")
FORMS = "a dict name -> embedding, (names, array), or a dict of utterances, embeddings, perhaps speakers and splits"


class _Refused(Exception):
    """Why a pickle is not read on; the message ends the one to the user."""


class _Admitted:
    """What a pickle gets for a name: it can be called, and nothing else."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]):
        self.make = make

    def __call__(self, *arguments: Any) -> Any:
        return self.make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise _Refused("it would change a function")


class _Kind:
    """In place of a `numpy.dtype`: numbers, texts, or a list of such objects."""

    __slots__ = ("order", "spec")

    def __init__(self, spec: object, align: object = False, copy: object = False):
        found = PLAIN.fullmatch(spec) if isinstance(spec, str) else None
        if found is None:
            raise _Refused(f"it holds an array of type {spec!r}")
        self.order, self.spec = found[1], found[2]

    def __setstate__(self, state: tuple) -> None:
        """Of `(version, byte order, base, field names, fields, ...)` the order is taken; records are refused."""
        version, order, *rest = state
        if version not in (3, 4) or order not in ("<", ">", "=", "|") or any(part is not None for part in rest[:3]):
            raise _Refused("it holds an array of records")
        self.order = order

    def array(self, raw: object, shape: object, order: str) -> np.ndarray | list:
        """An array of this shape, or a list of objects, from what the pickle holds."""
        if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
            raise _Refused("it holds an array without a shape")
        count = 1
        for size in shape:
            count *= size
        if self.spec.startswith("O"):
            if not isinstance(raw, list) or len(shape) != 1 or len(raw) != count:
                raise _Refused("it holds an array of Python objects that is no plain list")
            return raw
        dtype = np.dtype(self.order.replace("|", "") + self.spec)
        if not isinstance(raw, bytes | bytearray) or not dtype.itemsize or len(raw) != count * dtype.itemsize:
            raise _Refused("it holds an array without its numbers")
        return np.frombuffer(bytes(raw), dtype).reshape(shape, order=order)


class _Array:
    """In place of an array that is filled after it is made; `value` is the array, or a list of objects."""

    __slots__ = ("value",)

    def __init__(self, *_: object):
        self.value: np.ndarray | list | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_columns, raw = state
        self.value = _kind(kind).array(raw, shape, "F" if by_columns else "C")


def _kind(kind: object) -> _Kind:
    if not isinstance(kind, _Kind):
        raise _Refused("it holds an array without a type")
    return kind


def _from_buffer(raw: object, kind: object, shape: object, order: object, axes: object = None) -> _Array:
    if order not in ("C", "F") or axes is not None:
        raise _Refused("it holds an array whose numbers are in no plain order; copy it before it is saved")
    array = _Array()
    array.value = _kind(kind).array(raw, shape, str(order))
    return array


def _scalar(kind: object, raw: object = None) -> object:
    value = _kind(kind).array(raw, (1,), "C")
    return value[0].item() if isinstance(value, np.ndarray) else value[0]


def _latin(text: object, encoding: object = "latin1") -> bytes:
    """The bytes of arrays in old pickles."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused("it encodes text")
    return text.encode("latin1")


def _admitted() -> dict[tuple[str, str], Callable[..., Any]]:
    """New for each file, so that none can spoil the next."""
    table: dict[tuple[str, str], Callable[..., Any]] = {("_codecs", "encode"): _latin}
    for numpy_core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
        table[f"{numpy_core}.multiarray", "_reconstruct"] = _Array
        table[f"{numpy_core}.multiarray", "scalar"] = _scalar
        table[f"{numpy_core}.numeric", "_frombuffer"] = _from_buffer
    table |= {("numpy", "dtype"): _Kind, ("numpy", "ndarray"): _Array}
    return table | {("collections", "OrderedDict"): OrderedDict}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any):
        super().__init__(file)
        self.admitted = _admitted()

    def find_class(self, module: str, name: str) -> Any:
        make = self.admitted.get((module, name))
        if make is None:
            torch = "; save tensors as NumPy arrays" if module.startswith("torch") else ""
            raise _Refused(f"it names {module}.{name}, and to read that could run code{torch}")
        return _Admitted(make)


def read(path: Path) -> Embeddings:
    """One of `FORMS`; errors as in `checked`, and for whatever is not arrays, texts, numbers and containers of them."""
    try:
        with open(path, "rb") as file:
            content = _Unpickler(file).load()
    except _Refused as error:
        raise InputError(f"{path}: this pickle is refused: {error}") from error
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        reason = " ".join(str(error).split())  # Python's own has two lines
        raise InputError(f"{path}: not a readable pickle ({type(error).__name__}: {reason})") from error
    if isinstance(content, dict) and "embeddings" in content:
        key = next((name for name in NAMES if name in content), None)
        if key is not None:
            content = (content[key], content["embeddings"], content.get("speakers"), content.get("splits"))
    if isinstance(content, dict):
        return checked(list(content), [_vector(value, path) for value in content.values()], str(path))
    if isinstance(content, tuple | list) and len(content) in (2, 3, 4):
        return _read_columns(path, *content)
    raise InputError(f"{path}: its pickle is none of: {FORMS}")


def write(path: Path, embeddings: Embeddings) -> None:
    """A dict of `utterances`, `embeddings` and, where known, `speakers` and `splits`."""
    content: dict[str, Any] = {"utterances": embeddings.names, "embeddings": embeddings.rows}
    for column in ("speakers", "splits"):
        if getattr(embeddings, column) is not None:
            content[column] = getattr(embeddings, column)
    with replacing(path) as draft, open(draft, "wb") as file:
        pickle.dump(content, file, protocol=4)


def _read_columns(path: Path, names: object, rows: object, *told: object) -> Embeddings:
    """Names, rows, perhaps speakers and splits, each a list or an array; the first two in either order."""
    names, rows, *told = (one.value if isinstance(one, _Array) else one for one in (names, rows, *told))
    if isinstance(names, np.ndarray) and names.dtype.kind in "fiu":
        names, rows = rows, names
    names, *told = (one.tolist() if isinstance(one, np.ndarray) else one for one in (names, *told))
    if not isinstance(names, list | tuple) or not all(isinstance(one, list | tuple | None) for one in told):
        raise InputError(f"{path}: its pickle is none of: {FORMS}")
    if isinstance(rows, list | tuple):
        rows = [_vector(row, path) for row in rows]
    elif not isinstance(rows, np.ndarray):
        raise InputError(f"{path}: its pickle is none of: {FORMS}")
    return checked(names, rows, str(path), *told)


def _vector(value: object, path: Path) -> np.ndarray:
    """An array, or a list of numbers as one."""
    value = value.value if isinstance(value, _Array) else value
    if isinstance(value, list | tuple) and value and all(type(number) in (int, float) for number in value):
        value = np.array(value, np.float64)
    if not isinstance(value, np.ndarray):
        raise InputError(f"{path}: its pickle is none of: {FORMS}")
    return value
