"""Embeddings by ONNX Runtime, without torch: from an `.onnx` that `speakerlab export` wrote."""

import os
import threading
from functools import cache
from pathlib import Path

import numpy as np

from speakerlab import InputError
from speakerlab.data import usable_cpus
from speakerlab.inference.card import METADATA_KEY, ModelCard
from speakerlab.inference.engines.onnx_file import EXPORT, read_metadata

SHORTEST = "speakerlab_shortest"  # in the model's metadata, beside the card: samples that the graph needs at least
WAVEFORM, EMBEDDING = "waveform", "embedding"  # the graph's input (batch, samples) and output (batch, embed_dim)
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
MOST_TOGETHER = 16  # waveforms of one length in a batch
MOST_MEMORY = 8 * 2**30  # bytes for tensors; a five-minute piece through the largest ResNet takes about two
# A run may take so many seconds, and so many a second of sound: ten times what a large network takes on one slow core.
PATIENCE, PATIENCE_A_SECOND = 60.0, 20.0


class OnnxEngine:
    """Float32 mono waveforms, each `(samples,)`, at `card.sample_rate` `-> (waveforms, embed_dim)` float32.

    Waveforms of one length run together; nothing is padded, so that each has the embedding that it has alone. What a
    file may make ONNX Runtime do is bounded: see `onnx_file`, `MOST_MEMORY` and `PATIENCE`.

    Args:
        path: the `.onnx`.
        device: "cpu"; "cuda" or "cuda:N" with `onnxruntime-gpu`; "auto" is CUDA where that has it, else the CPU.
        threads: of the CPU; None is one for each processor that this process may use, or `OMP_NUM_THREADS`.

    Raises:
        InputError: if onnxruntime or the device is missing, or the file is damaged, unsafe, no model, or has no card.
    """

    def __init__(self, path: str | Path, device: str = "auto", threads: int | None = None):
        self.path = Path(path)
        metadata = read_metadata(self.path)
        if METADATA_KEY not in metadata:
            raise InputError(f"{path}: has no card of speakerlab, so that nobody knows what it takes; {EXPORT}")
        try:
            self.card = ModelCard.from_json(metadata[METADATA_KEY])
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        shortest = metadata.get(SHORTEST, "1")
        self.shortest = int(shortest) if shortest.isascii() and shortest.isdigit() and len(shortest) < 10 else 1
        self.session = _open(self.path, _providers(device), threads)
        self._check_ends()
        if device.startswith("cuda") and CUDA not in self.session.get_providers():
            raise InputError(f"device={device}: ONNX Runtime can't use the GPU here; take device=cpu")

    @property
    def device(self) -> str:
        """Where it runs."""
        return "cuda" if CUDA in self.session.get_providers() else "cpu"

    def __call__(self, waveforms: list[np.ndarray]) -> np.ndarray:
        """Embeddings in the waveforms' order.

        Raises:
            InputError: if a waveform is too short, or the model fails on it, takes too much memory or too long.
        """
        lengths = np.array([len(waveform) for waveform in waveforms], np.int64)
        rows = np.empty((len(waveforms), self.card.embed_dim), np.float32)
        for length in np.unique(lengths):
            if length < self.shortest:
                raise InputError(
                    f"{length} samples are too short: {self.path.name} takes {self.shortest} "
                    f"({self.shortest / self.card.sample_rate:.2f} s) or more"
                )
            same = np.flatnonzero(lengths == length)
            for first in range(0, len(same), MOST_TOGETHER):
                some = same[first : first + MOST_TOGETHER]
                rows[some] = self._run(np.stack([waveforms[place] for place in some]).astype(np.float32, copy=False))
        return rows

    def _run(self, batch: np.ndarray) -> np.ndarray:
        """`(batch, samples) -> (batch, embed_dim)`."""
        options = _runtime().RunOptions()
        options.log_severity_level = 4
        limit = PATIENCE + PATIENCE_A_SECOND * batch.size / self.card.sample_rate
        timer = threading.Timer(limit, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            (found,) = self.session.run([EMBEDDING], {WAVEFORM: batch}, options)
        except Exception as error:  # ONNX Runtime's own kinds have no base of their own
            reason = f"it took over {limit:.0f} s" if options.terminate else _reason(error)
            raise InputError(f"{self.path}: fails on {batch.shape[1]} samples ({reason})") from error
        finally:
            timer.cancel()
        if found.shape != (len(batch), self.card.embed_dim) or not np.isfinite(found).all():
            raise InputError(f"{self.path}: gives no finite embeddings of {self.card.embed_dim} values; {EXPORT}")
        return found

    def _check_ends(self) -> None:
        """The graph must take waveforms and give embeddings."""
        ends = (self.session.get_inputs(), self.session.get_outputs())
        named = [[(end.name, end.type, len(end.shape)) for end in side] for side in ends]
        if named != [[(WAVEFORM, "tensor(float)", 2)], [(EMBEDDING, "tensor(float)", 2)]]:
            raise InputError(f"{self.path}: takes no waveforms or gives no embeddings; {EXPORT}")


def _providers(device: str) -> list:
    """What runs the graph, the most wanted first.

    Raises:
        InputError: if the device is none, or onnxruntime has no CUDA.
    """
    there = _runtime().get_available_providers()
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise InputError(f"device={device} is not here; use auto, cpu, cuda or cuda:0")
    if kind == "cpu" or (kind == "auto" and CUDA not in there):
        return [CPU]
    if CUDA not in there:
        raise InputError(f"device={device}: this onnxruntime has no CUDA; install onnxruntime-gpu or take device=cpu")
    # TF32 would round to 10 bits what PyTorch's default computes with 23.
    return [(CUDA, {"device_id": int(number or 0), "use_tf32": 0}), CPU]


def _open(path: Path, providers: list, threads: int | None):
    """A session, in which nothing is computed yet.

    Raises:
        InputError: if ONNX Runtime refuses the file.
    """
    onnxruntime = _runtime()
    _limit_memory()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or _threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.use_env_allocators", "1")
    # Idle threads that spin slow down whatever else the process does.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # Constants were folded at export; folding them here would compute what a file says before any limit holds.
        return onnxruntime.InferenceSession(
            str(path), options, providers=providers, disabled_optimizers=["ConstantFolding"]
        )
    except Exception as error:  # ONNX Runtime's own kinds have no base of their own
        raise InputError(f"{path}: ONNX Runtime can't load it ({_reason(error)}); {EXPORT}") from error


@cache
def _runtime():
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("an .onnx needs ONNX Runtime: pip install onnxruntime") from error
    onnxruntime.set_default_logger_severity(4)  # what fails is told in a line
    return onnxruntime


@cache
def _limit_memory() -> None:
    """Bound the memory of all sessions of this process on the CPU; what asks for more fails at once."""
    onnxruntime = _runtime()
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else MOST_MEMORY
    # Exactly what is asked for is taken, not the next power of two.
    limits = {"max_mem": min(MOST_MEMORY, physical * 3 // 4), "arena_extend_strategy": 1}
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg(limits))


def _threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else usable_cpus()


def _reason(error: Exception) -> str:
    """One short line of ONNX Runtime's message, which may quote the file at length."""
    text = " ".join(str(error).split())
    return "".join(character for character in text if character.isprintable())[:200]
