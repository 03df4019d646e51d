"""Counts against the arithmetic of each network's paper, and against torch's count where torch has one."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from speakerlab.cli.launch import compose
from speakerlab.inference import cost

FRAMES = 198  # of 2 s


def config(*overrides: str):
    return compose("train", list(overrides))[0]


def ecapa_macs(frames: int, channels: int, mels: int = 80, width: int = 1536, bottleneck: int = 128) -> int:
    """ECAPA-TDNN from figures 1 and 2 of its paper: rows x columns x frames of every product."""
    stem = 5 * mels * channels * frames
    group = channels // 8
    res2 = 7 * 3 * group * group * frames  # one of eight groups passes as it is
    squeeze = 2 * channels * bottleneck  # once an utterance
    blocks = 3 * (2 * channels * channels * frames + res2 + squeeze)
    aggregate = 3 * channels * width * frames
    # Frames, and once an utterance its mean and deviation; then a score for each channel and frame.
    attention = width * bottleneck * frames + 2 * width * bottleneck + bottleneck * width * frames
    project = 2 * width * 192
    return stem + blocks + aggregate + attention + project


@pytest.mark.parametrize("model, channels, parameters", [("ecapa", 512, 6_194_432), ("ecapa_c1024", 1024, 14_660_800)])
def test_ecapa_by_hand(model, channels, parameters):
    cfg = config(f"model={model}")
    assert cost.sizes(cfg) == (parameters, 192)
    assert cost.macs(cfg) == ecapa_macs(FRAMES, channels)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers_count(bidirectional):
    """Four gates; from the second layer on, the input is both directions' states."""
    cfg = config("model=lstm", "model.encoder.hidden=64", f"model.encoder.bidirectional={str(bidirectional).lower()}")
    directions = 2 if bidirectional else 1
    width = 64 * directions
    layers = sum(directions * 4 * 64 * (below + 64) for below in (80, width, width))
    attention = FRAMES * (width * 128 + 128)
    assert cost.macs(cfg) == FRAMES * layers + attention + width * 256


def test_a_count_needs_no_memory_and_takes_any_length():
    wide = config("model=ecapa", "model.encoder.channels=32768")  # 12 GB of weights
    assert cost.sizes(wide)[0] > 3e9
    assert cost.macs(wide) > 6e11
    cfg = config("model=resnet18")
    assert 1.9 < cost.macs(cfg, seconds=4.0) / cost.macs(cfg) < 2.1


def test_a_fusion_costs_its_branches_and_itself():
    branches = {"a": ["model=mel_cnn"], "b": ["model=xvector"]}
    fused = config(
        "model=fusion", f"model.branches={{{', '.join(f'{n}: {{overrides: {o}}}' for n, o in branches.items())}}}"
    )
    alone = [config(*overrides) for overrides in branches.values()]
    gate, projections, ends = (256 + 512) * 2 * 256, (256 + 512) * 256, 2 * 256  # products; a mean and a gain
    parameters = gate + 2 * 256 + projections + 2 * 256 + ends
    assert cost.sizes(fused) == (sum(cost.sizes(one)[0] for one in alone) + parameters, 256)
    assert cost.macs(fused) == sum(map(cost.macs, alone)) + gate + projections


def test_the_features_choose_the_frames():
    short = config("model=mel_cnn")
    assert cost.macs(short) == cost.macs(short, seconds=1.0) == cost.macs(short, seconds=7.0)


def test_the_median_of_what_was_timed(monkeypatch):
    """Each utterance is what the network gets in evaluation: one, of 2 s, after one that does not count."""
    seen = []

    class Network(nn.Module):
        def forward(self, waveform):
            seen.append((waveform.shape, self.training, torch.is_inference_mode_enabled()))

    monkeypatch.setattr(cost, "build_network", lambda cfg, trust: Network())
    clock = iter([0.0, 0.003, 0.0, 0.5, 0.0, 0.004])  # once something else had the CPU
    monkeypatch.setattr(cost.time, "process_time", lambda: next(clock))
    assert cost.milliseconds({"loader": {"sample_rate": 16000}}, repeats=3) == pytest.approx(4.0)
    assert seen == 4 * [((1, 32000), False, True)]


def test_the_whole_cost_of_a_network(monkeypatch):
    cfg = config("model=ecapa", "model.encoder.channels=64")
    found = cost.cost(cfg)
    assert (found.parameters, found.macs) == (cost.sizes(cfg)[0], cost.macs(cfg))
    assert 0.1 < found.latency_ms < 10_000 and 0.1 < found.embeddings_per_second < 1e5
    assert 100 < found.memory_mb < 100_000
    times = {1: 4.0, cost.BATCH: 32.0}
    monkeypatch.setattr(cost, "milliseconds", lambda cfg, batch=1, **_: times[batch])
    assert cost.cost(cfg).latency_ms == 4.0 and cost.cost(cfg).embeddings_per_second == 1000 * cost.BATCH / 32


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_peak_memory_is_the_kernels_number():
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    assert cost.peak_mb() == pytest.approx(kilobytes * 1024 / 1e6, rel=0.05)
