"""Sizes of the papers on the meta device; everything else with front ends of kilobytes."""

from functools import partial

import numpy as np
import pytest
import torch
import torchaudio
from omegaconf import OmegaConf
from torch.nn import functional as F

from speakerlab.build import build_network, network_from_checkpoint
from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics
from speakerlab.encoders.ssl_ecapa import SslEcapa

LARGE = {"large": True, "width": 1024, "layers": 24, "heads": 16, "hidden": 4096}
TINY = {"width": 32, "layers": 3, "heads": 4, "hidden": 48, "conv_width": 16}
BACK_END = {"channels": 16, "pooled_channels": 24, "embed_dim": 8}
each_shape = pytest.mark.parametrize(
    "kind, large", [("wavlm", False), ("wavlm", True), ("wav2vec2", False), ("wav2vec2", True)]
)


def tiny(kind: str = "wavlm", large: bool = False, freeze: bool = True, seed: int = 0, **others) -> SslEcapa:
    """In evaluation mode, with every vector random (norms are the identity in fresh networks, biases zero)."""
    torch.manual_seed(seed)
    pooling = partial(AttentiveStatistics, bottleneck=8, global_context=False)
    encoder = SslEcapa(1, pooling, kind, freeze=freeze, large=large, **TINY, **BACK_END, **others)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if parameter.ndim <= 1 or "gru_rel_pos_const" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None  # the statistics become those of the batches seen, in full
    with torch.no_grad():
        encoder.train()(waveforms(4000, 4000, 4000, 4000)[0])
    return encoder.eval()


def waveforms(*samples: int, fill: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with an offset, coloured differently for each item: `(batch, samples, 1)`, and the lengths."""
    generator = torch.Generator().manual_seed(1)
    batch = torch.full((len(samples), max(samples), 1), fill)
    for item, length in zip(batch, samples, strict=True):
        noise = torch.randn(length + 9, generator=generator)
        colour = torch.randn(10, generator=generator)
        item[:length, 0] = 0.05 * F.conv1d(noise[None, None], colour[None, None])[0, 0] + 0.01
    return batch, torch.tensor(samples)


@pytest.mark.parametrize(
    "kind, sizes, theirs, published",
    [
        ("wavlm", {}, torchaudio.models.wavlm_base, 94.4e6),
        ("wavlm", LARGE, torchaudio.models.wavlm_large, 315.5e6),
        ("wav2vec2", {}, torchaudio.models.wav2vec2_base, 94.4e6),
        ("wav2vec2", LARGE, torchaudio.models.wav2vec2_xlsr_300m, 315.4e6),
    ],
)
def test_front_ends_are_torchaudios(kind, sizes, theirs, published):
    with torch.device("meta"):
        ours, reference = SslEcapa(1, AttentiveStatistics, kind, **sizes).front_end.model, theirs()
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in reference.state_dict().items()}
    assert sum(parameter.numel() for parameter in ours.parameters()) == pytest.approx(published, abs=0.05e6)
    for one, other in zip(ours.modules(), reference.modules(), strict=True):
        assert type(one).__name__ == type(other).__name__  # each weight norm makes a class of its own
        for name in ("num_heads", "num_buckets", "max_distance", "layer_norm_first", "stride", "kernel_size", "groups"):
            assert getattr(one, name, None) == getattr(other, name, None), name


@each_shape
@torch.inference_mode()
def test_states_are_torchaudios(kind, large):
    encoder, (batch, _) = tiny(kind, large), waveforms(5000, 5000)
    model, x = encoder.front_end.model, batch.squeeze(-1)
    if large:
        x = torch.stack([F.layer_norm(item, item.shape) for item in x])
    between, _ = model.extract_features(x)
    last, _ = model(x)
    states, mask = encoder.front_end(batch.squeeze(-1), None)
    assert mask is None and len(states) == TINY["layers"] + 1
    for state, expected in zip(states[1:-1], between, strict=False):
        torch.testing.assert_close(state, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(states[-1], last, atol=1e-5, rtol=1e-4)
    # The first is what the lowest layer is given.
    transformer = model.encoder.transformer
    expected, _ = transformer.layers[0](states[0])
    torch.testing.assert_close(states[1], expected, atol=1e-5, rtol=1e-4)


@each_shape
@torch.inference_mode()
def test_the_back_end_sees_the_weighted_mean_without_its_own_mean_and_deviation(kind, large):
    encoder, (batch, _) = tiny(kind, large), waveforms(6000, 6000)
    logits = encoder.layer_weights.numpy()
    assert np.ptp(logits) > 0.1
    shares = np.exp(logits) / np.exp(logits).sum()
    states, _ = encoder.front_end(batch.squeeze(-1), None)
    mixed = sum(share * state.numpy() for share, state in zip(shares, states, strict=True))
    centred = mixed - mixed.mean(axis=1, keepdims=True)
    standard = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    torch.testing.assert_close(encoder(batch), encoder.back_end(torch.from_numpy(standard)), atol=1e-4, rtol=1e-3)


def test_all_layers_weigh_the_same_at_first():
    encoder = SslEcapa(1, AttentiveStatistics, **TINY, **BACK_END)
    states = [torch.full((1, 2, 3), float(value)) for value in (1, 2, 3, 6)]
    torch.testing.assert_close(encoder.layer_mean(states), torch.full((1, 2, 3), 3.0))


@each_shape
@pytest.mark.parametrize("fill", [0.0, 5.0, float("nan")])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(kind, large, fill):
    encoder, samples = tiny(kind, large), (7000, 400, 719, 720, 3333)
    batch, lengths = waveforms(*samples, fill=fill)
    together = encoder(F.pad(batch, (0, 0, 0, 777), value=fill), lengths)
    alone = torch.cat([encoder(item[None, :length]) for item, length in zip(batch, samples, strict=True)])
    scale = alone.norm(dim=1).mean()
    assert scale > 1
    assert (together - alone).norm(dim=1).max() < 1e-4 * scale
    # Those of 400 and 719 samples have one frame, of which nothing is left without its mean.
    assert torch.pdist(alone[[0, 1, 3, 4]]).min() > 0.1
    full = encoder(batch[:1], lengths[:1])
    assert (encoder(batch[:1]) - full).norm() < 1e-4 * scale


@each_shape
def test_a_frozen_front_end_stays_as_it_is(kind, large):
    encoder, (batch, _) = tiny(kind, large).train(), waveforms(4000, 4000)
    assert not any(parameter.requires_grad for parameter in encoder.front_end.parameters())
    assert encoder.back_end.training and not any(module.training for module in encoder.front_end.modules())
    states, _ = encoder.front_end(batch.squeeze(-1), None)
    assert not any(state.requires_grad for state in states)  # nothing is kept for its gradients
    again, _ = encoder.front_end(batch.squeeze(-1), None)
    assert all(torch.equal(one, other) for one, other in zip(states, again, strict=True))  # no dropout
    before = {name: tensor.clone() for name, tensor in encoder.front_end.state_dict().items()}
    optimizer = torch.optim.AdamW([parameter for parameter in encoder.parameters() if parameter.requires_grad], lr=0.1)
    encoder(batch).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.front_end.state_dict().items())
    assert encoder.layer_weights.grad.abs().min() > 0


@each_shape
@pytest.mark.parametrize("padded", [True, False])
def test_a_trained_front_end_learns_in_every_part(kind, large, padded):
    encoder = tiny(kind, large, freeze=False).train()
    batch, lengths = waveforms(4000, 4000, 3000 if padded else 4000)
    assert encoder.front_end.training
    embeddings = encoder(batch, lengths if padded else None)
    (embeddings * torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # What shifts all logits of a softmax, or the input of a batch norm, changes nothing.
        if not name.endswith(("k_proj.bias", "pooling.score.bias", "back_end.project.bias")):
            assert parameter.grad.abs().max() > 1e-9, name
    with torch.no_grad():
        states = [encoder.front_end(batch.squeeze(-1), None)[0][-1] for _ in range(2)]
    assert not torch.equal(*states)  # dropout
    assert not encoder.eval().front_end.training


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@each_shape
def test_sixteen_bits(kind, large, dtype):
    encoder, (batch, lengths) = tiny(kind, large, freeze=False).train(), waveforms(4000, 4000, 3000)
    with torch.autocast("cpu", dtype):
        embeddings = encoder(batch, lengths)
    embeddings.float().square().sum().backward()
    assert embeddings.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())
    encoder.eval()
    with torch.inference_mode():
        exact = encoder(batch, lengths)
        with torch.autocast("cpu", dtype):
            rounded = encoder(batch, lengths).float()
    assert torch.cosine_similarity(rounded, exact).min() > 0.95


@pytest.mark.slow
@each_shape
@pytest.mark.parametrize("padded", [True, False])
def test_it_compiles_in_one_piece(kind, large, padded):
    encoder, (batch, lengths) = tiny(kind, large), waveforms(8000, 6000)
    with torch.no_grad():
        explained = torch._dynamo.explain(encoder)(batch, lengths if padded else None)
    torch._dynamo.reset()
    assert explained.graph_count == 1 and explained.graph_break_count == 0, explained.break_reasons


@pytest.mark.slow
@each_shape
def test_it_exports_to_onnx(kind, large, tmp_path):
    """The contract's test exports the smallest front end alone."""
    onnxruntime = pytest.importorskip("onnxruntime")
    encoder, path = tiny(kind, large), tmp_path / "encoder.onnx"
    samples = torch.export.Dim("samples", min=2800, max=1_000_000)
    torch.onnx.export(encoder, (waveforms(16000)[0],), path, dynamo=True, dynamic_shapes=({1: samples},), verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for length in (2800, 16000, 40000):
        batch, _ = waveforms(length)
        (found,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, encoder(batch).numpy(), atol=1e-3)


@pytest.mark.parametrize(
    "name, value", [("kind", "hubert"), ("width", 24), ("heads", 3), ("layers", 0), ("dropout", 1.0)]
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} must|width=32 must be a multiple of heads={value}"):
        SslEcapa(1, AttentiveStatistics, **{"kind": "wavlm", **TINY, name: value}, **BACK_END)


def test_only_the_waveform_at_16_khz_is_taken():
    with pytest.raises(ValueError, match=r"feature_dim=80 must be 1: .*features=raw"):
        SslEcapa(80, AttentiveStatistics, **TINY)
    with pytest.raises(ValueError, match="sample_rate=8000 must be 16000"):
        SslEcapa(1, AttentiveStatistics, **TINY, sample_rate=8000)
    with pytest.raises(ValueError, match="399 samples are fewer than the 400"):
        tiny()(torch.zeros(1, 399, 1))


def test_weights_are_read_when_asked_for_and_said_to_be_missing(tmp_path):
    first, second = tiny(seed=0), tiny(seed=1, weights=str(tmp_path / "front_end.pt"))
    torch.save(first.front_end.model.state_dict(), tmp_path / "front_end.pt")
    before = {name: tensor.clone() for name, tensor in second.back_end.state_dict().items()}
    assert second.initialise() == f"weights={tmp_path / 'front_end.pt'}: the front end's, in torchaudio's names"
    for name, tensor in second.front_end.state_dict().items():
        assert torch.equal(tensor, first.front_end.state_dict()[name]), name
    assert all(torch.equal(before[name], tensor) for name, tensor in second.back_end.state_dict().items())
    assert not any(parameter.requires_grad for parameter in second.front_end.parameters())
    assert "warning: the front end's weights are random and stay so" in tiny().initialise()
    assert "are random and are trained from nothing" in tiny(freeze=False).initialise()


def test_a_checkpoint_needs_no_weights_file(compose):
    sizes = [f"model.encoder.{name}={value}" for name, value in (TINY | BACK_END).items()]
    cfg, _ = compose("model=wavlm_base_ecapa", *sizes, "pooling.bottleneck=8", "model.encoder.weights=/nowhere/it.pt")
    network = build_network(cfg).eval()
    config = OmegaConf.to_container(cfg, resolve=True)
    checkpoint = {"config": config, "speakers": [], "state_dict": network.state_dict(prefix="network.")}
    batch = waveforms(5000)[0].squeeze(-1)
    with torch.inference_mode():
        assert torch.equal(network_from_checkpoint(checkpoint)(batch), network(batch))
