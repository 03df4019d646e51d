"""What a network costs: parameters, multiply-accumulates and time."""

import statistics
import time
from collections.abc import Callable

import torch
from omegaconf import DictConfig
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from speakerlab.build import build_network

SECONDS = 2.0  # of the utterance that is embedded
REPEATS = 7


def sizes(cfg: DictConfig) -> tuple[int, int]:
    """The encoder's parameters and the size of its embedding, without memory for weights."""
    with torch.device("meta"):
        network = build_network(cfg)
    return sum(parameter.numel() for parameter in network.encoder.parameters()), network.embed_dim


def macs(cfg: DictConfig, seconds: float = SECONDS) -> int:
    """The encoder's multiply-accumulates for one utterance, counted without memory or arithmetic.

    They are those of convolutions, matrix products, attention and recurrent layers, in evaluation and on the features'
    real output; norms, activations, gates, statistics and the features themselves are not counted.
    """
    with FakeTensorMode(), torch.no_grad():
        network = build_network(cfg).eval()
        features, _ = network.features(torch.zeros(1, round(seconds * cfg["loader"]["sample_rate"])))
        with FlopCounterMode(display=False, custom_mapping=_RECURRENT) as counter:
            network.encoder(features)
    return counter.get_total_flops() // 2


def milliseconds(cfg: DictConfig, seconds: float = SECONDS, repeats: int = REPEATS) -> float:
    """From waveform to embedding on the CPU, one utterance at a time in float32: median of `repeats`, after one more.

    It is the CPU's time and not the clock's, so that other programs do not count; on one thread of an idle machine the
    two are the same. The network has random weights, which take as long as trained ones.
    """
    torch.manual_seed(0)
    network = build_network(cfg).eval()
    waveform = 0.1 * torch.randn(1, round(seconds * cfg["loader"]["sample_rate"]))
    with torch.inference_mode():
        network(waveform)  # what libraries prepare once
        return 1000 * statistics.median(_timed(lambda: network(waveform)) for _ in range(repeats))


def _timed(work: Callable[[], object]) -> float:
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
