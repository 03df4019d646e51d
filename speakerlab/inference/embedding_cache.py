"""Embeddings that were computed once, kept on the disk by model and audio.

`<cache_dir>/embeddings/<model>/<part>.arrow`: a part is written whole beside its place and then renamed, and never
changed. So any number of processes may read and write, and one that is killed leaves no damage; two that embed the same
at once store it twice, which costs space and nothing else. No locks are needed, which shared file systems are bad at.
"""

import hashlib
import inspect
import json
import logging
import os
import time
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import torch
from torch import nn

import speakerlab
from speakerlab import InputError
from speakerlab.data.manifest import replacing
from speakerlab.data.utterances import Utterances

KEY_BYTES = 16
EVERY = 30.0  # seconds of work that a kill may cost
MOST_PARTS = 32  # of a model; more are put together
TRIES = 5  # to read parts that other processes put together meanwhile
STALE = 24 * 3600.0  # seconds after which an unfinished part is nobody's any more
# What turns a file into an embedding, whatever else this program does. A change in any of them makes other keys.
SOURCES = ("features", "encoders", "fusion", "network.py", "data/audio.py", "data/wav.py", "data/utterances.py")
log = logging.getLogger("speakerlab")


class EmbeddingCache:
    """The embeddings of one model.

    Args:
        folder: of all models; made if need be.
        model: see `model_key`.
        gigabytes: that all models may fill; the parts that were used least recently go first.
    """

    def __init__(self, folder: Path, model: str, gigabytes: float):
        self.root, self.folder, self.gigabytes = folder, folder / model, gigabytes
        self.pending: list[tuple[np.ndarray, ...]] = []
        self.written: list[Path] = []  # by this process
        self.saved = time.monotonic()
        self.broken = False

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Which keys are here, `(keys,)`, and rows `(keys, dim)` float32 that count where they are; None without any.

        Args:
            keys: `(keys,)` as `audio_keys` gives them.
        """
        found, rows = np.zeros(len(keys), bool), None
        for _ in range(TRIES):
            vanished = False
            for path in self._parts():
                left = np.flatnonzero(~found)
                if not len(left):
                    break
                part = _read_part(path)
                if part is None:
                    vanished = True
                    continue
                first, second, embeddings = part
                wanted = _binary(keys[left])
                places = pc.coalesce(*(pc.index_in(wanted, value_set=_binary(stored)) for stored in (first, second)))
                there = places.is_valid().to_numpy(zero_copy_only=False)
                if there.any():
                    rows = np.zeros((len(keys), embeddings.shape[1]), np.float32) if rows is None else rows
                    rows[left[there]] = embeddings[places.drop_null().to_numpy()]
                    found[left[there]] = True
                    with suppress(OSError):  # another process has put it together with others, or may only read here
                        os.utime(path)
            if not vanished:  # else what was in it may be in a part that was written after they were listed
                break
        return found, rows

    def add(self, keys: np.ndarray, rows: np.ndarray, others: np.ndarray | None = None) -> None:
        """Keep rows `(keys, dim)`; they are on the disk after `EVERY` seconds, or when `close` returns. Those that are
        not finite are not kept.

        Args:
            keys: `(keys,)`.
            rows: `(keys, dim)`.
            others: `(keys,)` by which the same rows are found too; None is by none.
        """
        good = np.isfinite(rows).all(axis=1)
        self.pending.append((keys[good], (keys if others is None else others)[good], rows[good]))
        if time.monotonic() - self.saved > EVERY:
            self._flush()

    def close(self) -> None:
        """Write what is left, put small parts together, and make room."""
        self._flush()
        parts = list(self._parts())
        if len(self.written) > 1 or len(parts) > MOST_PARTS:
            self._merge(parts if len(parts) > MOST_PARTS else list(self.written))
        self.written = []
        trim(self.root, self.gigabytes * 1e9)

    def _parts(self) -> list[Path]:
        """The newest first: what was embedded last is asked for again soonest."""
        found = []
        for path in self.folder.glob("*.arrow"):
            with suppress(OSError):  # it vanished meanwhile
                found.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(found, reverse=True)]

    def _flush(self) -> None:
        pending, self.pending, self.saved = self.pending, [], time.monotonic()
        if any(len(keys) for keys, *_ in pending):
            self._write(*(np.concatenate(column) for column in zip(*pending, strict=True)))

    def _write(self, keys: np.ndarray, others: np.ndarray, rows: np.ndarray) -> None:
        """A full disk is no reason to lose an evaluation: it goes on without the cache."""
        if self.broken:
            return
        path = self.folder / f"{uuid.uuid4().hex}.arrow"
        numbers = pa.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
        lists = pa.FixedSizeListArray.from_arrays(numbers, rows.shape[1])
        table = pa.table({"key": _binary(keys), "other": _binary(others), "embedding": lists})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as draft, pa.ipc.new_file(str(draft), table.schema) as writer:
                writer.write_table(table)
        except OSError as error:
            self.broken = True
            log.warning(f"embeddings are not kept: {self.folder} can't be written to ({error.strerror or error})")
            return
        self.written.append(path)

    def _merge(self, paths: list[Path]) -> None:
        """One part in place of several. They go once it is there, so that nothing is ever missing."""
        parts = [part for part in map(_read_part, paths) if part is not None]
        if not parts:
            return
        keys, others, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
        _, first = np.unique(keys.view(f"S{KEY_BYTES}"), return_index=True)
        self._write(keys[first], others[first], rows[first])
        if not self.broken:
            for path in paths:
                path.unlink(missing_ok=True)


def audio_keys(utterances: Utterances) -> np.ndarray:
    """A key for the audio of each utterance, `(utterances,)` of `KEY_BYTES` bytes: of its file's path, size and time of
    change, and of the part of the file.

    Raises:
        InputError: if a file is not there.
    """
    digests = bytearray()
    for file, first, samples in zip(
        utterances.files, utterances.first_sample.tolist(), utterances.samples.tolist(), strict=True
    ):
        path = os.path.abspath(file)
        try:
            stat = os.stat(path)
        except OSError as error:
            raise InputError(f"{file}: can't be read ({error.strerror})") from error
        text = f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0{first}\0{samples}"
        digests += hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=KEY_BYTES).digest()
    return np.frombuffer(bytes(digests), f"V{KEY_BYTES}")


def model_key(network: nn.Module, settings: dict, device: torch.device) -> str:
    """Names a network by all that its embeddings depend on: its weights, the classes that it is made of, their
    settings, the sources of this program that decode and compute, torch, and the kind of device.

    Args:
        network: any.
        settings: plain values: the parts of the config that the network was built from, and its sample rate.
        device: where it computes; a GPU's convolutions round more coarsely than a CPU's.
    """
    digest = hashlib.sha256(_sources())
    facts = [type(network).__qualname__, settings, device.type, torch.__version__]
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    for source in sorted({_source_of(type(module)) for module in network.modules()} - {""}):
        digest.update(Path(source).read_bytes())
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def trim(root: Path, most_bytes: float) -> None:
    """Remove the parts of any model that were used least recently until the rest fit, and what killed processes left
    unfinished."""
    now, parts = time.time(), []
    for path in root.glob("*/*"):
        with suppress(OSError):  # it vanished meanwhile
            stat = path.stat()
            if path.suffix == ".arrow":
                parts.append((stat.st_mtime_ns, stat.st_size, path))
            elif now - stat.st_mtime > STALE:
                path.unlink(missing_ok=True)
    filled = sum(size for _, size, _ in parts)
    for _, size, path in sorted(parts):
        if filled <= most_bytes:
            break
        path.unlink(missing_ok=True)
        filled -= size
    for folder in root.glob("*/"):
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def _read_part(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Keys, other keys, and embeddings `(keys, dim)`, mapped and not read; None for a part that is gone, or damaged and
    so removed."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
        keys, others = (
            np.frombuffer(table[name].combine_chunks().buffers()[1], f"V{KEY_BYTES}", len(table))
            for name in ("key", "other")
        )
        column = table["embedding"].combine_chunks()
        return keys, others, column.flatten().to_numpy().reshape(len(keys), column.type.list_size)
    except FileNotFoundError:
        return None
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, AttributeError):
        path.unlink(missing_ok=True)
        return None


def _binary(keys: np.ndarray) -> pa.FixedSizeBinaryArray:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY_BYTES), len(keys), [None, pa.py_buffer(keys.tobytes())])


@cache
def _sources() -> bytes:
    """A digest of `SOURCES`."""
    package, digest = Path(speakerlab.__file__).parent, hashlib.sha256()
    for name in SOURCES:
        place = package / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes())
    return digest.digest()


def _source_of(kind: type) -> str:
    """The file of a class of somebody's own; "" for those of torch."""
    if kind.__module__.split(".")[0] in ("torch", "torchaudio"):
        return ""
    try:
        return inspect.getfile(kind)
    except (TypeError, OSError):
        return ""
