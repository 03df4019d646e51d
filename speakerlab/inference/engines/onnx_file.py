"""What an ONNX file holds, told by its bytes before anything runs it.

ONNX Runtime does what a file says: it opens other files that weights lie in, runs operators that others have added, and
makes tensors of any size. So a file is looked through first, part by part and in bounded time: its protocol buffer is
walked without a copy, and whatever no export of this program has is refused. The numbers are of ONNX's `onnx.proto`.
"""

import math
import mmap
from collections.abc import Iterator
from pathlib import Path

from speakerlab import InputError

LARGEST = 2**31  # bytes, more than which no protocol buffer has
MOST_PARTS = 2_000_000  # fields of messages; a network with a thousand layers has some 100,000
OWN_DOMAINS = ("", "ai.onnx")
# Of ONNX Runtime's own operators, those that its quantisation makes.
RUNTIME_DOMAIN = "com.microsoft"
RUNTIME_OPERATORS = ("DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
EXPORT = "export it anew with `speakerlab export CKPT`"

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # kinds of fields
GRAPH, METADATA, TRAINING, FUNCTIONS = 7, 14, 20, 25  # of a model
NODE, INITIALIZER, SPARSE_INITIALIZER = 1, 5, 15  # of a graph
OUTPUT, OPERATOR, ATTRIBUTE, DOMAIN = 2, 4, 5, 7  # of a node
NAME, INTEGER = 1, 3  # of an attribute
TENSOR, TENSORS, GRAPHS, SPARSE = 5, 10, (6, 11), (22, 23)  # of an attribute
DIMENSION, VALUES, EXTERNAL, LOCATION = 1, (4, 5, 6, 7, 9, 10, 11), 13, 14  # of a tensor


class _Faulty(Exception):
    """What is wrong with a file."""


def read_metadata(path: Path) -> dict[str, str]:
    """The model's metadata, once its whole file has been looked through.

    Args:
        path: of the file.

    Raises:
        InputError: if it is no file, no ONNX model or cut off, keeps weights in other files, holds operators that are
            neither ONNX's nor made by quantisation, graphs within graphs, or tensors larger than their values.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        if not 0 < size < LARGEST:
            raise _Faulty("is empty" if size == 0 else "is larger than 2 GB, which no ONNX file is")
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _Walk().model(memoryview(mapped))  # goes with the last view of it
    except _Faulty as fault:
        raise InputError(f"{path}: {fault}; {EXPORT}") from fault
    except OSError as error:
        raise InputError(f"{path}: can't be opened ({error.strerror})") from error


class _Walk:
    """Goes through a file once; counts its parts, of which a small file may have very many."""

    def __init__(self):
        self.left = MOST_PARTS

    def fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Number and value of each field of a message; values of fixed size as their bytes."""
        place = 0
        while place < len(data):
            self.left -= 1
            if self.left < 0:
                raise _Faulty("has more parts than any network")
            key, place = _varint(data, place)
            number, kind = key >> 3, key & 7
            if kind == VARINT:
                value, place = _varint(data, place)
                yield number, value
                continue
            if kind == BYTES:
                size, place = _varint(data, place)
            elif kind in (EIGHT_BYTES, FOUR_BYTES):
                size = 8 if kind == EIGHT_BYTES else 4
            else:
                raise _Faulty("is no ONNX model, or damaged")
            if place + size > len(data):
                raise _Faulty("is no ONNX model, or cut off")
            yield number, data[place : place + size]
            place += size

    def messages(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """The fields that are messages, strings or bytes."""
        return ((number, value) for number, value in self.fields(data) if isinstance(value, memoryview))

    def model(self, data: memoryview) -> dict[str, str]:
        metadata, graphs = {}, 0
        for number, value in self.messages(data):
            if number == GRAPH:
                graphs += 1
                self.graph(value)
            elif number == METADATA:
                entry = {which: _text(part) for which, part in self.messages(value)}
                metadata[entry.get(1, "")] = entry.get(2, "")
            elif number in (TRAINING, FUNCTIONS):
                raise _Faulty("holds functions of its own, which no export of speakerlab has")
        if graphs != 1:
            raise _Faulty("is no ONNX model, or damaged")
        return metadata

    def graph(self, data: memoryview) -> None:
        for number, value in self.messages(data):
            if number == NODE:
                self.node(value)
            elif number == INITIALIZER:
                self.tensor(value)
            elif number == SPARSE_INITIALIZER:
                raise _Faulty("holds sparse tensors, which no export of speakerlab has")

    def node(self, data: memoryview) -> None:
        parts = list(self.messages(data))
        operators = [_text(value) for number, value in parts if number == OPERATOR]
        domains = [_text(value) for number, value in parts if number == DOMAIN] or [""]
        for domain in domains:
            known = domain == RUNTIME_DOMAIN and set(operators) <= set(RUNTIME_OPERATORS)
            if domain not in OWN_DOMAINS and not known:
                shown = f"{domain}.{'.'.join(operators)}"[:80]
                raise _Faulty(f"holds the operator {shown!r}, which is not one of ONNX's and never run")
        outputs = sum(number == OUTPUT for number, _ in parts)
        for number, value in parts:
            if number == ATTRIBUTE:
                self.attribute(value)
                if "Split" in operators:
                    self.split(value, outputs)

    def split(self, attribute: memoryview, outputs: int) -> None:
        """ONNX Runtime ends the whole process for a Split that states fewer parts than it has outputs."""
        fields = list(self.fields(attribute))
        named = any(number == NAME and value == b"num_outputs" for number, value in fields)
        if named and [value for number, value in fields if number == INTEGER] != [outputs]:
            raise _Faulty("holds a Split into another number of parts than it has outputs")

    def attribute(self, data: memoryview) -> None:
        for number, value in self.messages(data):
            if number in (TENSOR, TENSORS):
                self.tensor(value)
            elif number in GRAPHS:
                raise _Faulty("holds graphs within its graph (loops, conditions), which no export of speakerlab has")
            elif number in SPARSE:
                raise _Faulty("holds sparse tensors, which no export of speakerlab has")

    def tensor(self, data: memoryview) -> None:
        """Its values must be in it, as many as its shape says, give or take their width."""
        shape: list[int] = []
        held, external = 0, False
        for number, value in self.fields(data):
            inside = isinstance(value, memoryview)
            if number == DIMENSION:
                shape += _varints(value) if inside else [value]
            elif number in VALUES:
                held += len(value) if inside else 1
            elif number == EXTERNAL or (number == LOCATION and value != 0):
                external = True
        if external:
            raise _Faulty("keeps weights in other files, which are never opened")
        # Eight values in a byte are more than any type packs; a negative size is a huge number here.
        if math.prod(shape) > 8 * held:
            raise _Faulty(f"declares a tensor of {' x '.join(map(str, shape[:8]))} values and holds {held} bytes of it")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while shift < 70:
        if place >= len(data):
            raise _Faulty("is no ONNX model, or cut off")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise _Faulty("is no ONNX model, or damaged")


def _varints(data: memoryview) -> list[int]:
    values, place = [], 0
    while place < len(data):
        value, place = _varint(data, place)
        values.append(value)
        if len(values) > 64:  # no tensor has so many axes
            raise _Faulty("is no ONNX model, or damaged")
    return values


def _text(data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise _Faulty("is no ONNX model, or damaged") from error
