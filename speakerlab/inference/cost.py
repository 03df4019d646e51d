"""What a network costs: parameters, multiply-accumulates, time and memory."""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from speakerlab.build import build_network

SECONDS = 2.0  # of the utterance that is embedded
REPEATS = 7
BATCH, BATCHES = 16, 3  # utterances at a time, and times, where many are embedded


@dataclass(frozen=True)
class Cost:
    """What a network costs; the attributes are named as `speakerlab.reports.metric_names` knows them.

    Attributes:
        parameters, macs: see `sizes` and `macs`.
        latency_ms: see `milliseconds`.
        embeddings_per_second: of utterances of `SECONDS`, `BATCH` at a time.
        memory_mb: see `peak_mb`.
    """

    parameters: int
    macs: int
    latency_ms: float
    embeddings_per_second: float
    memory_mb: float


def cost(cfg: DictConfig | dict, trust: tuple[str, ...] = (), device: str = "cpu") -> Cost:
    """All of it; in a process of its own, where nothing else has taken memory.

    Args:
        cfg: of training; a checkpoint has one.
        trust: classes admitted besides this project's own.
        device: `cpu` or a CUDA device.
    """
    latency = milliseconds(cfg, trust=trust, device=device)
    together = milliseconds(cfg, repeats=BATCHES, trust=trust, device=device, batch=BATCH)
    memory = peak_mb(device)  # before anything else takes some
    parameters, _ = sizes(cfg, trust)
    return Cost(parameters, macs(cfg, trust=trust), latency, 1000 * BATCH / together, memory)


def sizes(cfg: DictConfig | dict, trust: tuple[str, ...] = ()) -> tuple[int, int]:
    """The parameters of the encoder, of a fusion those of all and its own, and the size of the embedding, without
    memory for weights."""
    with torch.device("meta"):
        network = build_network(cfg, trust)
    return sum(p.numel() for encoder in network.encoders for p in encoder.parameters()), network.embed_dim


def macs(cfg: DictConfig | dict, seconds: float = SECONDS, trust: tuple[str, ...] = ()) -> int:
    """The encoder's multiply-accumulates for one utterance, counted without memory or arithmetic; of a fusion those of
    all.

    They are those of convolutions, matrix products, attention and recurrent layers, in evaluation and on the features'
    real output; norms, activations, gates, statistics and the features themselves are not counted.
    """
    with FakeTensorMode(), torch.no_grad():
        network = build_network(cfg, trust).eval()
        waveform, branches = torch.zeros(1, round(seconds * cfg["loader"]["sample_rate"])), network.branches.values()
        features = [branch.features(waveform)[0] for branch in branches]
        with FlopCounterMode(display=False, custom_mapping=_RECURRENT) as counter:
            network.fuse([branch.encoder(one) for branch, one in zip(branches, features, strict=True)])
    return counter.get_total_flops() // 2


def milliseconds(
    cfg: DictConfig | dict,
    seconds: float = SECONDS,
    repeats: int = REPEATS,
    trust: tuple[str, ...] = (),
    device: str = "cpu",
    batch: int = 1,
) -> float:
    """From waveforms to embeddings in float32: median of `repeats`, after one more.

    On a CPU it is the CPU's time and not the clock's, so that other programs do not count; on one thread of an idle
    machine the two are the same. The network has random weights, which take as long as trained ones.
    """
    torch.manual_seed(0)
    network = build_network(cfg, trust).eval().to(device)
    waveform = 0.1 * torch.randn(batch, round(seconds * cfg["loader"]["sample_rate"])).to(device)
    with torch.inference_mode():
        network(waveform)  # what libraries prepare once
        return 1000 * statistics.median(_timed(lambda: network(waveform), device) for _ in range(repeats))


def peak_mb(device: str = "cpu") -> float:
    """The most memory that this process has had, in MB of 10^6 bytes; on a GPU, that its tensors have had."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (most if sys.platform == "darwin" else 1024 * most) / 1e6


def _timed(work: Callable[[], object], device: str) -> float:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        work()
        torch.cuda.synchronize(device)
        return time.perf_counter() - began
    began = time.process_time()
    work()
    return time.process_time() - began


def _layer_flops(x: torch.Size, input_weight: torch.Size, state_weight: torch.Size, *_: object, **__: object) -> int:
    """Of one recurrent layer in one direction, which multiplies every frame and every state by a matrix.

    Args:
        x: shape `(frames, batch, width)`.
        input_weight, state_weight: shapes of the matrices; what else the operation takes does not multiply.
    """
    return 2 * x[0] * x[1] * (input_weight.numel() + state_weight.numel())


# Torch counts no recurrent layers. Where oneDNN does them they are one operation a layer and direction; elsewhere they
# are matrix products, which are counted.
_RECURRENT = {torch.ops.aten.mkldnn_rnn_layer: _layer_flops}
