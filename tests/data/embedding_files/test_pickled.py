"""Pickles as others write them, and attacks that Python's own loader would fall for."""

import builtins
import collections
import importlib
import io
import os
import pickle
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from speakerlab import InputError
from speakerlab.data.embedding_files.pickled import read

NAMES = ["id1/a/1.wav", "id1/ö/2.wav", "b"]
ROWS = np.array([[0.5, -1.25], [2.0, 3.0], [4.0, 1e-3]], np.float32)
BY_NAME = dict(zip(NAMES, ROWS, strict=True))


def load(tmp_path: Path, content: bytes):
    (tmp_path / "x.pkl").write_bytes(content)
    return read(tmp_path / "x.pkl")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "content",
    [
        BY_NAME,
        collections.OrderedDict(BY_NAME),
        {name: row[None] for name, row in BY_NAME.items()},
        {name: row.astype(np.float64) for name, row in BY_NAME.items()},
        {name: row.astype(">f4") for name, row in BY_NAME.items()},
        {name: row.tolist() for name, row in BY_NAME.items()},
        {name: tuple(row) for name, row in BY_NAME.items()},  # of NumPy's scalars
        {np.str_(name): row for name, row in BY_NAME.items()},
        (NAMES, ROWS),
        [ROWS, NAMES],
        (np.array(NAMES), ROWS),
        (np.array(NAMES, dtype=object), np.asfortranarray(ROWS)),
        (tuple(NAMES), list(ROWS)),
        (NAMES, ROWS.tolist()),
        {"names": NAMES, "embeddings": ROWS},
    ],
    ids=lambda content: type(content).__name__,
)
def test_what_others_write(tmp_path, content, protocol):
    found = load(tmp_path, pickle.dumps(content, protocol))
    assert found.names == NAMES and found.speakers is None
    np.testing.assert_array_equal(found.rows, ROWS)


@pytest.mark.parametrize("speakers", [["s", "s", "t"], np.array(["s", "s", "t"])])
def test_speakers(tmp_path, speakers):
    for content in ({"utterances": NAMES, "embeddings": ROWS, "speakers": speakers}, (NAMES, ROWS, speakers)):
        assert load(tmp_path, pickle.dumps(content)).speakers == ["s", "s", "t"]


def calling(function, *arguments):
    """An object whose pickle calls a function where it is loaded."""

    class Attack:
        def __reduce__(self):
            return function, arguments

    return Attack()


TOUCH = "touch attacked"
ATTACKS = {
    "os.system": pickle.dumps(calling(os.system, TOUCH)),
    "os.system, protocol 0": pickle.dumps(calling(os.system, TOUCH), 0),
    "subprocess": pickle.dumps(calling(subprocess.check_call, ["touch", "attacked"])),
    "eval": pickle.dumps(calling(eval, "open('attacked', 'w')")),
    "exec": pickle.dumps(calling(exec, "open('attacked', 'w')")),
    "open": pickle.dumps(calling(open, "attacked", "w")),
    "getattr": b"c__builtin__\ngetattr\n(cos\npath\nVjoin\ntR.",
    "import": pickle.dumps(calling(importlib.import_module, "antigravity")),
    "inside an embedding": pickle.dumps({"a": ROWS[0], "b": calling(os.system, TOUCH)}),
    "as a name": pickle.dumps({calling(os.system, TOUCH): ROWS[0]}),
    "inside an array of objects": pickle.dumps((np.array([calling(os.system, TOUCH)], dtype=object), ROWS[:1])),
    "INST": b"(S'touch attacked'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch attacked'\no.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch attacked\x85R.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__new__\x93)R.",
    "a dotted way to os": b"\x80\x04\x8c\x05numpy\x8c\x09os.system\x93\x8c\x0etouch attacked\x85R.",
    "NumPy's loader": pickle.dumps(calling(np.load, "other.npy", None, True)),
    "NumPy's loader of strings": pickle.dumps(calling(np.lib.format.read_array, io.BytesIO(b""), True)),
    "NumPy's ctypes": b"cnumpy.ctypeslib\nload_library\n(S'libc.so.6'\nS'/'\ntR.",
    "NumPy's runner of strings": b'cnumpy.testing._private.utils\nrunstring\n(S\'open("attacked","w")\'\n}tR.',
    "numpy.memmap": b"cnumpy\nmemmap\n(S'attacked'\nS'u1'\nS'w+'\nI0\nI4\ntR.",
    "torch": pickle.dumps(torch.ones(2)),
    "torch.load": pickle.dumps(calling(torch.load, "other.pt")),
    "pickle.loads": pickle.dumps(calling(pickle.loads, pickle.dumps(calling(os.system, TOUCH)))),
    "a codec": b"c_codecs\nencode\n(S'x'\nS'antigravity'\ntR.",
    "a persistent id": b"Pos.system\n.",
    "an extension": b"\x82\x01.",
    "a global of this program": b"cspeakerlab.data.tree\nmake_folder\n(Vattacked\nVx\ntR.",
    "an OrderedDict's class": b"ccollections\nOrderedDict\n(N}S'update'\ncos\nsystem\nstb.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_and_nothing_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    called = []
    for module, function in ((os, "system"), (builtins, "eval"), (builtins, "exec"), (subprocess, "check_call")):
        monkeypatch.setattr(module, function, lambda *given: called.append(given))
    with pytest.raises(InputError, match=r"x\.pkl: (this pickle is refused|not a readable pickle)") as caught:
        load(tmp_path, ATTACKS[name])
    assert "\n" not in str(caught.value)
    if name not in ("a persistent id", "an extension", "a codec"):  # which name nothing to call
        assert "this pickle is refused: it names" in str(caught.value)
    assert not called and os.listdir(tmp_path) == ["x.pkl"]


@pytest.mark.parametrize("name", ["os.system", "exec", "open", "INST", "STACK_GLOBAL", "pickle.loads", "numpy.memmap"])
def test_the_attacks_are_real(tmp_path, monkeypatch, name):
    """Python's own loader runs them."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(ATTACKS[name])
    assert "attacked" in os.listdir(tmp_path)


def text(value: str) -> bytes:
    """Opcodes that push a string."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def old_bytes(value: bytes) -> bytes:
    """Opcodes that push bytes, as protocol 2 does."""
    return b"c_codecs\nencode\n" + text(value.decode("latin1")) + text("latin1") + b"\x86R"


def array_pickle(spec: str, order: str, flags: int, raw: bytes, count: int) -> bytes:
    """An array `(count,)` by hand, with a type, flags of it and bytes of one's choice."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + old_bytes(b"b") + b"\x87R"
    size = b"J" + struct.pack("<i", int(spec[1:]))
    kind = b"cnumpy\ndtype\n" + text(spec) + b"\x89\x88\x87R(K\x03" + text(order) + b"NNN" + size + b"K\x01K"
    state = b"(K\x01M" + struct.pack("<H", count) + b"\x85" + kind + bytes([flags]) + b"tb\x89" + old_bytes(raw) + b"tb"
    return b"\x80\x02" + empty + state + b"."


def test_the_arrays_by_hand_are_arrays(tmp_path):
    content = array_pickle("f4", "<", 0, ROWS.tobytes(), ROWS.size)
    np.testing.assert_array_equal(pickle.loads(content), ROWS.reshape(-1))
    named = b"\x80\x02}" + text("a") + content[2:-1] + b"s."
    np.testing.assert_array_equal(load(tmp_path, named).rows[0], ROWS.reshape(-1))


def test_bytes_are_never_taken_for_pointers(tmp_path):
    """`dtype.__setstate__` can be told that objects are plain bytes: NumPy would follow them as addresses."""
    with pytest.raises(InputError, match="this pickle is refused: it holds an array of Python objects"):
        load(tmp_path, array_pickle("O8", "|", 0, b"\x41" * 16, 2))
    for spec, raw, count in [("f8", b"\0" * 8, 2), ("f8", b"\0" * 24, 2), ("V8", b"\0" * 16, 2), ("U0", b"", 60000)]:
        with pytest.raises(InputError, match="this pickle is refused: it holds an array"):
            load(tmp_path, array_pickle(spec, "<", 0, raw, count))


def test_a_record_type_is_refused(tmp_path):
    records = np.zeros(3, dtype=[("name", "U3"), ("row", "f4", 2)])
    with pytest.raises(InputError, match="this pickle is refused: it holds an array"):
        load(tmp_path, pickle.dumps((NAMES, records)))


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(BY_NAME)[:-20], b"(lp0\ng0\na.", b"\x80\x05\x97."])
def test_damage_is_told_in_a_line(tmp_path, content):
    with pytest.raises(InputError, match=r"x\.pkl: ") as caught:
        load(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [3, "text", [1, 2, 3, 4], NAMES, {"a": "b"}, {"a": {"b": ROWS[0]}}, (NAMES, "x"), ({"a": 1}, ROWS)]
)
def test_other_contents_are_refused(tmp_path, content):
    with pytest.raises(InputError, match=r"x\.pkl: "):
        load(tmp_path, pickle.dumps(content))


def test_one_file_can_not_spoil_the_next(tmp_path):
    """State for what a pickle was given to call."""
    for name in (b"c_codecs\nencode\n", b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"ccollections\nOrderedDict\n"):
        for state in (b"}S'make'\nI1\ns", b"(N}S'make'\nI1\nst"):
            with pytest.raises(InputError, match=r"x\.pkl: "):
                load(tmp_path, name + state + b"b.")
    assert load(tmp_path, pickle.dumps(BY_NAME, 2)).names == NAMES
