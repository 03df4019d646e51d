"""voxceleb_trainer's networks as they are published, by the names of its files; its own code is not run here."""

import pytest
import torch
from peers import RandomState, State, check_embeddings, conv1d, conv2d, gate2d, imported, linear, norm, weighted
from torch import Tensor
from torchaudio.transforms import MelSpectrogram

from speakerlab import InputError
from speakerlab.build import build_network
from speakerlab.cli.launch import compose
from speakerlab.inference.peers.conversion import check_fit
from speakerlab.inference.peers.voxceleb_trainer import read

EMBED = 16


def spectrogram(mels: int) -> MelSpectrogram:
    return MelSpectrogram(16000, n_fft=512, win_length=400, hop_length=160, window_fn=torch.hamming_window, n_mels=mels)


def features(waveform: Tensor, mels: int, preemphasis: float) -> Tensor:
    """`(samples,) -> (1, 1, mels, frames)`; each band of mean 0 and variance 1."""
    previous = torch.cat([waveform[1:2], waveform[:-1]])
    log = (spectrogram(mels)(waveform - preemphasis * previous) + 1e-6).log()
    return ((log - log.mean(dim=1, keepdim=True)) / (log.var(dim=1, unbiased=False, keepdim=True) + 1e-5).sqrt())[
        None, None
    ]


def random_state(
    fast: bool, widths: tuple[int, ...], depths: tuple[int, ...], mels: int, deviation: bool, embed: int
) -> State:
    """Random weights of ResNetSE34L (`fast`) or ResNetSE34V2, as a `.model` file holds them."""
    drawn, inner = RandomState(), widths[0]
    drawn.weight("conv1", widths[0], 1, *((7, 7) if fast else (3, 3)), bias=not fast)
    drawn.norm("bn1", widths[0])
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            name = f"layer{stage + 1}.{block}"
            for number, channels in ((1, inner), (2, width)):
                drawn.weight(f"{name}.conv{number}", width, channels, 3, 3, bias=False)
                drawn.norm(f"{name}.bn{number}", width)
            drawn.weight(f"{name}.se.fc.0", width // 8, width)
            drawn.weight(f"{name}.se.fc.2", width, width // 8)
            if stage and not block:
                drawn.weight(f"{name}.downsample.0", width, inner, 1, 1, bias=False)
                drawn.norm(f"{name}.downsample.1", width)
            inner = width
    spectral = spectrogram(mels)
    if fast:
        pooled = inner
        drawn.weight("sap_linear", inner, inner)
        drawn.state["attention"] = torch.randn(inner, 1, generator=drawn.generator)
        front = {"torchfb.": spectral}
    else:
        pooled = inner * mels // 8
        drawn.weight("attention.0", 128, pooled, 1)
        drawn.norm("attention.2", 128)
        drawn.weight("attention.3", pooled, 128, 1)
        front = {"torchfb.1.": spectral}
        drawn.state["torchfb.0.flipped_filter"] = torch.tensor([[[-0.97, 1.0]]])
    drawn.weight("fc", embed, pooled * (2 if deviation else 1))
    for prefix, module in front.items():
        drawn.state |= {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}
    state = {f"__S__.{name}": tensor for name, tensor in drawn.state.items()}
    return state | {"__L__.w": torch.tensor(10.0), "__L__.b": torch.tensor(-5.0)}


def stages(state: State, x: Tensor, last_stride: int) -> Tensor:
    """The four stages of blocks: convolution, ReLU, norm, convolution, norm, squeeze-and-excitation, skip, ReLU."""
    strides = {"layer1": 1, "layer2": 2, "layer3": 2, "layer4": last_stride}
    for name in dict.fromkeys(name.rsplit(".conv", 1)[0] for name in state if ".conv" in name):
        stride = strides[name.split(".")[0]] if name.endswith(".0") else 1
        y = norm(state, f"{name}.bn1", conv2d(state, f"{name}.conv1", x, stride).relu())
        y = gate2d(state, f"{name}.se.fc", norm(state, f"{name}.bn2", conv2d(state, f"{name}.conv2", y)))
        if f"{name}.downsample.0.weight" in state:
            x = norm(state, f"{name}.downsample.1", conv2d(state, f"{name}.downsample.0", x, stride))
        x = (x + y).relu()
    return x


def fast_resnet(state: State, x: Tensor) -> Tensor:
    """ResNetSE34L: planes `(1, 1, mels, frames)` to an embedding."""
    x = norm(state, "bn1", conv2d(state, "conv1", x, (2, 1))).relu()
    x = stages(state, x, last_stride=1).mean(dim=2).transpose(1, 2)  # (1, frames, channels)
    weights = (linear(state, "sap_linear", x).tanh() @ state["attention"]).softmax(dim=1)
    mean = (weights * x).sum(dim=1)
    if state["fc.weight"].shape[1] == 2 * x.shape[2]:
        mean = torch.cat([mean, ((weights * x.square()).sum(dim=1) - mean.square()).clamp(min=1e-5).sqrt()], dim=1)
    return linear(state, "fc", mean)


def half_resnet(state: State, x: Tensor) -> Tensor:
    """ResNetSE34V2."""
    x = norm(state, "bn1", conv2d(state, "conv1", x).relu())
    x = stages(state, x, last_stride=2).flatten(1, 2)
    hidden = norm(state, "attention.2", conv1d(state, "attention.0", x).relu())
    return linear(state, "fc", weighted(x, conv1d(state, "attention.3", hidden).softmax(dim=2), 1e-5))


def plain(state: State) -> State:
    return {name.removeprefix("__S__."): tensor for name, tensor in state.items()}


SMALL, DEPTHS = (8, 16, 16, 24), (2, 1, 1, 2)


@pytest.mark.parametrize("deviation", [False, True])
def test_fast_resnets_embeddings_are_those_of_the_published_network(tmp_path, deviation):
    state = random_state(True, SMALL, DEPTHS, 40, deviation, EMBED)
    torch.save(state, tmp_path / "lite.model")
    network = imported("voxceleb_trainer", tmp_path / "lite.model", tmp_path / "out.ckpt")
    check_embeddings(network, lambda waveform: fast_resnet(plain(state), features(waveform, 40, 0.0)))


def test_half_resnets_embeddings_are_those_of_the_published_network(tmp_path):
    """Of a file as newer versions write it, with the optimizer's state beside the model's."""
    state = random_state(False, SMALL, DEPTHS, 64, True, EMBED)
    torch.save({"model_state_dict": state, "optimizer_state_dict": {"state": {}}, "epoch": 3}, tmp_path / "v2.model")
    network = imported("voxceleb_trainer", tmp_path / "v2.model", tmp_path / "out.ckpt")
    check_embeddings(network, lambda waveform: half_resnet(plain(state), features(waveform, 64, 0.97)))


@pytest.mark.parametrize(
    "fast, widths, mels, count",
    [(True, (16, 32, 64, 128), 40, 1_437_078), (False, (32, 64, 128, 256), 64, 8_028_492)],
)
def test_the_published_sizes_fit(tmp_path, fast, widths, mels, count):
    """ResNetSE34L with SAP, ResNetSE34V2 with ASP, 512 values: each tensor finds its place."""
    state = random_state(fast, widths, (3, 4, 6, 3), mels, not fast, 512)
    own = {name: tensor for name, tensor in plain(state).items() if "running" not in name and "torchfb" not in name}
    assert sum(tensor.numel() for tensor in own.values() if tensor.ndim) == count
    torch.save(state, tmp_path / "some.model")
    found = read(tmp_path / "some.model")
    with torch.device("meta"):
        network = build_network(compose("train", found.overrides)[0])
    check_fit(found, network.state_dict())
    # Ours has a bias before the softmax over time, which changes nothing.
    assert sum(parameter.numel() for parameter in network.parameters()) == count + fast


@pytest.mark.parametrize(
    "name, tensor, message",
    [
        ("__S__.torchfb.mel_scale.fb", torch.zeros(257, 40), "torchfb.mel_scale.fb is not that of 16 kHz"),
        ("__S__.torchfb.spectrogram.window", torch.hann_window(400), "spectrogram.window is not that of 16 kHz"),
        ("__S__.torchfb.more", torch.zeros(1), "torchfb.more is no part of a front end"),
        ("__S__.conv1.weight", torch.full((8, 1, 7, 7), torch.nan), "conv1.weight holds NaN"),
    ],
)
def test_another_front_end_is_refused(tmp_path, name, tensor, message):
    state = random_state(True, SMALL, (1, 1, 1, 1), 40, False, EMBED)
    torch.save(state | {name: tensor}, tmp_path / "some.model")
    with pytest.raises(InputError, match=message):
        read(tmp_path / "some.model")
    torch.save({"__S__.fc.weight": torch.zeros(2, 2)}, tmp_path / "none.model")
    with pytest.raises(InputError, match="neither a ResNetSE34L nor a ResNetSE34V2"):
        read(tmp_path / "none.model")
