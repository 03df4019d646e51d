"""WeSpeaker's networks as they are published, by the names of its files; its own code is not run here."""

import pytest
import torch
import yaml
from peers import RandomState, State, check_embeddings, conv1d, conv2d, imported, linear, norm, weighted
from torch import Tensor
from torchaudio.compliance import kaldi

from speakerlab import InputError
from speakerlab.build import build_network
from speakerlab.cli.launch import compose
from speakerlab.inference.peers.conversion import check_fit
from speakerlab.inference.peers.wespeaker import read

MELS, CHANNELS, POOLED, EMBED = 24, 32, 40, 16


def features(waveform: Tensor) -> Tensor:
    """`(samples,) -> (1, frames, MELS)` as at inference: Hamming's window, no dither, without each band's mean."""
    fbank = kaldi.fbank(
        waveform[None] * (1 << 15), num_mel_bins=MELS, frame_length=25, frame_shift=10, dither=0.0,
        window_type="hamming", sample_frequency=16000, use_energy=False,
    )  # fmt: skip
    return (fbank - fbank.mean(dim=0))[None]


def ecapa_state(channels: int = CHANNELS, pooled: int = POOLED, mels: int = MELS, seen: int = 3) -> State:
    """Random weights of ECAPA_TDNN_GLOB (`seen` 3) or ECAPA_TDNN (1), with the classifier of training."""
    drawn, width = RandomState(), channels // 8
    drawn.weight("layer1.conv", channels, mels, 5)
    drawn.norm("layer1.bn", channels)
    for layer in (2, 3, 4):
        block = f"layer{layer}.se_res2block"
        for part in (0, 2):
            drawn.weight(f"{block}.{part}.conv", channels, channels, 1)
            drawn.norm(f"{block}.{part}.bn", channels)
        for group in range(7):
            drawn.weight(f"{block}.1.convs.{group}", width, width, 3)
            drawn.norm(f"{block}.1.bns.{group}", width)
        drawn.weight(f"{block}.3.linear1", 128, channels)
        drawn.weight(f"{block}.3.linear2", channels, 128)
    drawn.weight("conv", pooled, 3 * channels, 1)
    drawn.weight("pool.linear1", 128, seen * pooled, 1)
    drawn.weight("pool.linear2", pooled, 128, 1)
    drawn.norm("bn", 2 * pooled)
    drawn.weight("linear", EMBED if channels == CHANNELS else 192, 2 * pooled)
    drawn.weight("projection", 9, EMBED, bias=False)
    return drawn.state


def ecapa(state: State, x: Tensor) -> Tensor:
    """Desplanques et al., with WeSpeaker's order of groups, attention and missing norms."""
    x = norm(state, "layer1.bn", conv1d(state, "layer1.conv", x.transpose(1, 2)).relu())
    outputs = []
    for layer in (2, 3, 4):
        block = f"layer{layer}.se_res2block"
        y = norm(state, f"{block}.0.bn", conv1d(state, f"{block}.0.conv", x).relu())
        groups = list(y.chunk(8, dim=1))
        for group in range(7):  # the last passes through
            given = groups[group] if group == 0 else groups[group] + groups[group - 1]
            convolved = conv1d(state, f"{block}.1.convs.{group}", given, dilation=layer).relu()
            groups[group] = norm(state, f"{block}.1.bns.{group}", convolved)
        y = norm(state, f"{block}.2.bn", conv1d(state, f"{block}.2.conv", torch.cat(groups, dim=1)).relu())
        squeezed = linear(state, f"{block}.3.linear1", y.mean(dim=2)).relu()
        x = x + y * linear(state, f"{block}.3.linear2", squeezed).sigmoid()[:, :, None]
        outputs.append(x)
    pooled = attentive(state, conv1d(state, "conv", torch.cat(outputs, dim=1)).relu())
    return linear(state, "linear", norm(state, "bn", pooled))


def attentive(state: State, x: Tensor) -> Tensor:
    """ASTP, with global context where its layer is that wide; deviations of that by frames less one."""
    seen = x
    if state["pool.linear1.weight"].shape[1] == 3 * x.shape[1]:
        mean, deviation = x.mean(dim=2, keepdim=True), (x.var(dim=2, keepdim=True) + 1e-7).sqrt()
        seen = torch.cat([x, mean.expand_as(x), deviation.expand_as(x)], dim=1)
    weights = conv1d(state, "pool.linear2", conv1d(state, "pool.linear1", seen).tanh()).softmax(dim=2)
    return weighted(x, weights, 1e-7)


def resnet_state(depths: tuple[int, ...], width: int, bottleneck: bool, attention: bool = False) -> State:
    drawn, inner = RandomState(), width
    drawn.weight("conv1", width, 1, 3, 3, bias=False)
    drawn.norm("bn1", width)
    for stage, depth in enumerate(depths):
        narrow = width * 2**stage
        out = 4 * narrow if bottleneck else narrow
        for block in range(depth):
            name = f"layer{stage + 1}.{block}"
            shapes = [(narrow, inner, 3, 3), (narrow, narrow, 3, 3)]
            if bottleneck:
                shapes = [(narrow, inner, 1, 1), (narrow, narrow, 3, 3), (out, narrow, 1, 1)]
            for number, shape in enumerate(shapes, start=1):
                drawn.weight(f"{name}.conv{number}", *shape, bias=False)
                drawn.norm(f"{name}.bn{number}", shape[0])
            if inner != out or (stage and not block):
                drawn.weight(f"{name}.shortcut.0", out, inner, 1, 1, bias=False)
                drawn.norm(f"{name}.shortcut.1", out)
            inner = out
    pooled = inner * MELS // 8
    if attention:
        drawn.weight("pool.linear1", 128, pooled, 1)
        drawn.weight("pool.linear2", pooled, 128, 1)
    drawn.weight("seg_1", EMBED, 2 * pooled)
    return drawn.state


def resnet(state: State, x: Tensor) -> Tensor:
    x = norm(state, "bn1", conv2d(state, "conv1", x.transpose(1, 2)[:, None])).relu()
    blocks = dict.fromkeys(name.rsplit(".conv", 1)[0] for name in state if ".conv" in name)
    for name in blocks:
        convs = sorted(key for key in state if key.startswith(f"{name}.conv"))
        stride, y = 2 if name.endswith(".0") and not name.startswith("layer1") else 1, x
        for number, key in enumerate(convs, start=1):
            # In a bottleneck the 3x3 convolution strides, else the first.
            strides = stride if number == len(convs) - 1 else 1
            y = norm(state, f"{name}.bn{number}", conv2d(state, key.removesuffix(".weight"), y, strides))
            y = y if number == len(convs) else y.relu()
        if f"{name}.shortcut.0.weight" in state:
            x = norm(state, f"{name}.shortcut.1", conv2d(state, f"{name}.shortcut.0", x, stride))
        x = (x + y).relu()
    x = x.flatten(1, 2)
    pooled = torch.cat([x.mean(dim=2), (x.var(dim=2) + 1e-7).sqrt()], dim=1)
    return linear(state, "seg_1", attentive(state, x) if "pool.linear1.weight" in state else pooled)


@pytest.mark.parametrize("seen", [3, 1])
def test_ecapas_embeddings_are_those_of_the_published_network(tmp_path, seen):
    state = ecapa_state(seen=seen)
    torch.save(state, tmp_path / "avg_model.pt")
    network = imported("wespeaker", tmp_path / "avg_model.pt", tmp_path / "out.ckpt")
    check_embeddings(network, lambda waveform: ecapa(state, features(waveform)))


@pytest.mark.parametrize(
    "depths, bottleneck, attention",
    [((2, 1, 1, 2), False, False), ((1, 2, 1, 1), True, False), ((1, 1, 1, 1), False, True)],
)
def test_resnets_embeddings_are_those_of_the_published_network(tmp_path, depths, bottleneck, attention):
    state = resnet_state(depths, 4, bottleneck, attention)
    torch.save(state, tmp_path / "final_model.pt")
    network = imported("wespeaker", tmp_path, tmp_path / "out.ckpt")
    check_embeddings(network, lambda waveform: resnet(state, features(waveform)))


@pytest.mark.parametrize("channels, count", [(512, 6_190_720), (1024, 14_657_088)])
def test_the_published_sizes_fit(tmp_path, channels, count):
    """ECAPA_TDNN_GLOB_c512 has 6.19 M parameters; each tensor finds its place."""
    state = ecapa_state(channels, 1536, 80)
    own = [tensor for name, tensor in state.items() if not name.startswith("projection") and "running" not in name]
    assert sum(tensor.numel() for tensor in own if tensor.ndim) == count
    torch.save(state, tmp_path / "avg_model.pt")
    found = read(tmp_path / "avg_model.pt")
    with torch.device("meta"):
        network = build_network(compose("train", found.overrides)[0])
    check_fit(found, network.state_dict())
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert len(found.left_out) == 1 and "projection.weight (9, 16)" in found.left_out[0]


def test_a_network_of_another_kind_is_refused(tmp_path):
    state = resnet_state((1, 1, 1, 1), 4, False)
    torch.save(state | {"seg_2.weight": torch.zeros(EMBED, EMBED)}, tmp_path / "two.pt")
    with pytest.raises(
        SystemExit, match="1 tensors do not fit; nothing was written\n.*theirs.* seg_2.weight \\(16, 16\\)"
    ):
        imported("wespeaker", tmp_path / "two.pt", tmp_path / "out.ckpt")
    torch.save({name: value for name, value in state.items() if "layer3" not in name}, tmp_path / "three.pt")
    with pytest.raises(InputError, match="layer1 to layer4 are not those of a ResNet"):
        read(tmp_path / "three.pt")
    torch.save({"xvector.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="neither an ECAPA-TDNN nor a ResNet of WeSpeaker: it begins with xvector"):
        read(tmp_path / "other.pt")
    assert not (tmp_path / "out.ckpt").exists()


@pytest.mark.parametrize(
    "data, named",
    [
        ({"frontend": "s3prl"}, "dataset_args.frontend is s3prl"),
        ({"resample_rate": 8000}, "dataset_args.resample_rate is 8000"),
        ({"fbank_args": {"frame_shift": 15}}, "fbank_args.frame_shift is 15"),
        ({"cmvn_args": {"norm_var": True}}, "cmvn_args.norm_var is True"),
    ],
)
def test_another_front_end_is_refused(tmp_path, data, named):
    torch.save(ecapa_state(), tmp_path / "avg_model.pt")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": "ECAPA_TDNN_GLOB_c512", "dataset_args": data}))
    with pytest.raises(InputError, match=named):
        read(tmp_path)
