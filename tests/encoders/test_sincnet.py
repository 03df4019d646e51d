from functools import partial

import numpy as np
import pytest
import torch

from speakerlab.encoders import sincnet
from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics
from speakerlab.encoders.pooling.mean import Mean
from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.encoders.sincnet import SincNet, cut, every_start, random_starts


def tiny(pooling=Mean, **options) -> SincNet:
    """Kilobytes, chunks of 600 samples, in evaluation mode with batch norms that have seen data."""
    torch.manual_seed(0)
    sizes = {"filters": 6, "taps": 31, "channels": 5, "hidden": 12, "chunk_ms": 37.5, "hop_ms": 12.5}
    encoder = SincNet(1, pooling, **{**sizes, **options})
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None
    encoder(waveform(4, 1000))
    return encoder.eval()


def waveform(batch: int, samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, 1, generator=torch.Generator().manual_seed(samples))


def test_size():
    """Layer by layer: 3200 - 250 samples, a third of them, and so on."""
    with torch.device("meta"):
        encoder = SincNet(1, Mean)
        projected = SincNet(1, Mean, embed_dim=256)
    first = 2 * 3200 + 2 * 80 + 2 * 80 * 983
    convolutions = (80 * 60 * 5 + 60 + 2 * 60 * 326) + (60 * 60 * 5 + 60 + 2 * 60 * 107)
    dense = 2 * 60 * 107 + 2048 * (60 * 107 + 2 * 2048) + 3 * 2 * 2048
    assert sum(p.numel() for p in encoder.parameters()) == first + convolutions + dense == 21_819_816
    assert encoder.embed_dim == 2048 and projected.embed_dim == 256
    assert sum(p.numel() for p in projected.parameters()) == 21_819_816 + 2048 * 256 + 3 * 256
    assert encoder.bands.low.numel() + encoder.bands.width.numel() == 160


@torch.inference_mode()
def test_a_chunk_is_embedded_as_in_the_paper():
    """In NumPy: norms over time, filters, rectifying, maxima of three; the dense layers with their batch norms."""
    encoder = tiny()
    found = encoder.embed_chunks(waveform(1, 600).squeeze(-1)).numpy()[0]
    weights = {name: value.double().numpy() for name, value in encoder.state_dict().items()}

    def norm(x, name, eps):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return x * weights[name + ".gain"] + weights[name + ".offset"]

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    def pooled(x):
        return x[:, : x.shape[1] // 3 * 3].reshape(len(x), -1, 3).max(-1)

    x = norm(waveform(1, 600).double().numpy()[0].T, "input_norm", 1e-12)
    filters = encoder.bands.even().double().numpy()
    x = np.abs([np.correlate(x[0], taps, "valid") for taps in filters])
    x = leaky(norm(pooled(x), "norms.0", 1e-5))
    for i in range(2):
        kernels = weights[f"convs.{i}.weight"]
        bias = weights[f"convs.{i}.bias"]
        x = [
            sum(np.correlate(row, k, "valid") for row, k in zip(x, kernel)) + b
            for kernel, b in zip(kernels, bias, strict=True)
        ]
        x = leaky(norm(pooled(np.array(x)), f"norms.{i + 1}", 1e-5))
    x = x.reshape(-1)
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weights["dense_norm.weight"] + weights["dense_norm.bias"]
    for i in range(3):
        batch = {key: weights[f"dense_norms.{i}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
        x = (weights[f"dense.{i}.weight"] @ x - batch["running_mean"]) / np.sqrt(batch["running_var"] + 1e-5)
        x = leaky(x * batch["weight"] + batch["bias"])
    np.testing.assert_allclose(found, x, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("block", [1, 3, 256])
def test_an_embedding_is_the_mean_over_whole_chunks(monkeypatch, block):
    monkeypatch.setattr(sincnet, "CHUNKS_AT_ONCE", block)
    encoder, lengths = tiny(), [1500, 799, 600]
    batch = waveform(3, 1777)
    for row, length in zip(batch, lengths, strict=True):
        row[length:] = float("nan")
    together = encoder(batch, torch.tensor(lengths))
    for row, length, found in zip(batch, lengths, together, strict=True):
        chunks = [row[start : start + 600, 0] for start in range(0, length - 599, 200)]
        assert len(chunks) == (length - 600) // 200 + 1
        torch.testing.assert_close(found, encoder.embed_chunks(torch.stack(chunks)).mean(0), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("pooling", [Statistics, partial(AttentiveStatistics, bottleneck=4)])
def test_any_pooling_sees_whole_chunks_alone(pooling):
    encoder, lengths = tiny(pooling), [1500, 799, 600]
    batch = waveform(3, 1777)
    for row, length in zip(batch, lengths, strict=True):
        row[length:] = float("nan")
    together = encoder(batch, torch.tensor(lengths))
    assert together.shape == (3, encoder.embed_dim) == (3, 24)
    for row, length, found in zip(batch, lengths, together, strict=True):
        chunks = torch.stack([row[start : start + 600, 0] for start in range(0, length - 599, 200)])
        expected = encoder.pooling(encoder.embed_chunks(chunks).T[None])[0]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert tiny(pooling, embed_dim=3)(waveform(2, 1000)).shape == (2, 3)


@torch.inference_mode()
def test_less_than_a_chunk_is_repeated():
    encoder, short = tiny(), waveform(1, 250)
    repeated = short.repeat(1, 3, 1)[:, :600]
    torch.testing.assert_close(encoder(short), encoder(repeated))
    padded = torch.cat([short, torch.full((1, 900, 1), float("nan"))], dim=1)
    torch.testing.assert_close(encoder(padded, torch.tensor([250])), encoder(repeated))


def test_training_draws_chunks_from_within_each_item():
    torch.manual_seed(0)
    lengths = torch.tensor([605, 600, 123])
    starts = random_starts(lengths, 600, 1000)
    assert starts.amin(1).tolist() == [0, 0, 0]
    assert starts.amax(1).tolist() == [5, 0, 0]
    ramp = torch.arange(700.0).expand(3, -1)
    chunks = cut(ramp, lengths, starts, 600)
    assert chunks.shape == (3, 1000, 600)
    assert (chunks[0, :, 0] == starts[0]).all() and chunks[0].max() == 604
    encoder = tiny(train_chunks=2).train()
    seen = []
    encoder.dense_norm.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    batch = waveform(4, 900)
    assert not torch.equal(encoder(batch), encoder(batch))
    assert seen == [8, 8]


def test_hops_cover_what_is_there():
    starts, valid = every_start(torch.tensor([10, 7, 2]), samples=10, chunk=4, hop=3)
    assert starts.tolist() == [[0, 3, 6, 9]] * 3
    assert valid[:, 0].tolist() == [[True, True, True, False], [True, True, False, False], [True, False, False, False]]


@torch.inference_mode()
def test_loudness_is_normalised_and_a_projection_projects():
    encoder, batch = tiny(), waveform(2, 1000)
    torch.testing.assert_close(encoder(batch), encoder(0.01 * batch), atol=1e-3, rtol=1e-3)
    assert tiny(embed_dim=3)(batch).shape == (2, 3)


def test_projected_embeddings_point_in_all_directions():
    """What is pooled has much in common, whoever speaks; a cosine of 0.9 and more would be left of that."""
    encoder, batch = tiny(embed_dim=32, hidden=64).train(), waveform(40, 1000)
    embeddings = encoder(batch).detach()
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(32), atol=1e-4, rtol=0)
    units = torch.nn.functional.normalize(embeddings)
    assert (units @ units.T).mean() < 0.1


@torch.inference_mode()
def test_weak_bands_survive_training_in_16_bits():
    """A tone whose loudness swings, 65 dB below another one: the band about it follows it and not rounding errors."""
    torch.manual_seed(0)
    encoder, seconds = SincNet(1, Mean, hidden=4), torch.arange(3200) / 16000
    envelope = 1 + 0.5 * torch.cos(2 * torch.pi * 25 * seconds)
    chunk = torch.sin(2 * torch.pi * 240 * seconds) + 5.6e-4 * envelope * torch.sin(2 * torch.pi * 6500 * seconds)
    heard = []
    encoder.norms[0].register_forward_hook(lambda module, given, found: heard.append(found))
    with torch.autocast("cpu", torch.bfloat16):
        encoder.embed_chunks(chunk.repeat(2, 1))
    low, high = encoder.filters()
    band = int(torch.nonzero((low < 6500) & (high > 6500))[0])
    expected = envelope[125:3075].unfold(0, 3, 3).mean(1)  # maxima of three, where all taps have samples
    assert torch.corrcoef(torch.stack([heard[0][0, band], expected]))[0, 1] > 0.8


def test_filters_are_band_edges_in_hertz():
    low, high = SincNet(1, Mean).filters()
    assert low.shape == high.shape == (80,) and not low.requires_grad
    assert low.min() >= 50 and high.max() <= 8000 and (high - low).min() >= 50


def test_silence_leaves_gradients_finite():
    encoder = tiny().train()
    batch = torch.cat([waveform(3, 1000), torch.zeros(1, 1000, 1)])
    encoder(batch).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())
    assert encoder.bands.low.grad.abs().max() > 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"feature_dim": 80}, "feature_dim=80 must be 1"),
        ({"hidden": 0}, "hidden=0"),
        ({"embed_dim": 0}, "embed_dim=0"),
        ({"hop_ms": 0.0}, "hop_ms=0.0"),
        ({"chunk_ms": 10.0}, "chunk_ms=10.0 must be longer"),
        ({"train_chunks": 0}, "train_chunks=0"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SincNet(**{"feature_dim": 1, "pooling": Mean, **options})
