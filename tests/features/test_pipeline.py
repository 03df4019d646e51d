"""What is common to all features, and every one of `conf/` with every norm and number of frames, found by globbing."""

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from speakerlab import InputError
from speakerlab.build import build_network
from speakerlab.encoders.mel_cnn import MelCnn
from speakerlab.features.fbank import Fbank
from speakerlab.features.mfcc import Mfcc
from speakerlab.features.norm.mean import MeanNorm
from speakerlab.features.norm.training_set import TrainingSetNorm
from speakerlab.features.pipeline import FeaturePipeline, fixed_frames, to_image
from speakerlab.features.raw import Raw
from speakerlab.shipped import CONF

FEATURES, NORMS, FRAMES = (
    sorted({path.stem for path in (CONF / group).glob("*.yaml")} - without)
    for group, without in (("features", {"none"}), ("norm", set()), ("frames", set()))
)
LOG_ENERGIES = [name for name in FEATURES if name.startswith("fbank")]  # what PCEN takes


def member(group: str, name: str) -> dict:
    """What a file of `conf/` says, with those that it begins with."""
    node = yaml.safe_load((CONF / group / f"{name}.yaml").read_text()) or {}
    below = [member(group, base) for base in node.pop("defaults", [])]
    return {key: value for part in (*below, node) for key, value in part.items()}


@pytest.fixture(autouse=True)
def any_features(monkeypatch):
    """Let the encoder behind the pipeline take the waveform, too."""
    monkeypatch.setattr(MelCnn, "takes_samples", True, raising=False)


def shipped(features: str, norm: str = "mean", frames: str = "default") -> FeaturePipeline:
    """As the program builds it, in front of an encoder that takes channels."""
    encoder = {"_target_": "speakerlab.encoders.mel_cnn.MelCnn", "channels": [2], "embed_dim": 2}
    chosen = {"features": features, "norm": norm, "frames": frames, "pooling": "mean"}
    nodes = {group: member(group, name) for group, name in chosen.items()}
    return build_network({"loader": {"sample_rate": 16000}, **nodes, "model": {"encoder": encoder}}).features


def mean_norm(dim: int, channels: int) -> MeanNorm:
    return MeanNorm()


def noise(*lengths: int) -> torch.Tensor:
    batch = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(batch, lengths):
        row[:length] = 0.1 * torch.randn(length, generator=torch.Generator().manual_seed(length))
    return batch


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("features", FEATURES)
def test_every_feature_with_every_norm(features, norm):
    """Each item as if it were alone, in float32, with finite gradients, also of silence."""
    if norm == "pcen" and features not in LOG_ENERGIES:
        with pytest.raises(InputError, match=r"^norm: PCEN takes natural logarithms of energies alone"):
            shipped(features, norm)
        return
    pipeline, lengths = shipped(features, norm), [8000, 3000, 5111, 4000]
    if pipeline.learns:
        pipeline.fit([noise(6000)])
    batch = noise(*lengths)
    batch[3] = 0.0
    for row, length in zip(batch, lengths):
        row[length:] = 0.5
    batch.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        together, counts = pipeline(batch, torch.tensor(lengths))
    assert together.dtype == torch.float32 and together.shape[-1] == pipeline.dim
    for item, count, row, length in zip(together, counts.tolist(), batch, lengths):
        (alone,), _ = pipeline(row[None, :length])
        assert len(alone) == count and alone.isfinite().all()
        torch.testing.assert_close(item[:count], alone, atol=1e-4, rtol=1e-4)
    sum(item[:count].square().sum() for item, count in zip(together, counts)).backward()
    assert batch.grad.isfinite().all() and batch.grad[0].any()
    assert all(parameter.grad.any() for parameter in pipeline.parameters())


@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize("features", FEATURES)
def test_every_feature_with_every_number_of_frames(features, frames):
    pipeline, settings = shipped(features, frames=frames), member("frames", frames)
    found, counts = pipeline(noise(8000, 5000), torch.tensor([8000, 5000]))
    planes = 1 if settings["stack"] == "dim" else 1 + settings["deltas"]
    if settings["image"]:
        expected = (2, 3, 224, 224)
    else:
        width = pipeline.extract.dim * (1 + settings["deltas"] if settings["stack"] == "dim" else 1)
        long = settings["target_frames"] or pipeline.extract(noise(8000))[0].shape[1]
        expected = (2, long, width) if planes == 1 else (2, planes, long, width)
    assert found.shape == expected and found.isfinite().all()
    assert pipeline.dim == expected[-1] and pipeline.channels == (expected[1] if len(expected) == 4 else 1)
    assert (counts is None) == bool(settings["target_frames"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_around_it_does_not_matter(dtype):
    pipeline = FeaturePipeline(Mfcc(), mean_norm, deltas=2)
    with torch.autocast("cpu", dtype):
        features, _ = pipeline(noise(8000))
    assert features.dtype == torch.float32 and torch.equal(features, pipeline(noise(8000))[0])


@pytest.mark.parametrize(
    "settings, shape",
    [
        ({}, (2, 48, 8)),
        ({"deltas": 2}, (2, 48, 24)),
        ({"deltas": 2, "stack": "channels"}, (2, 3, 48, 8)),
        ({"target_frames": 30}, (2, 30, 8)),
        ({"target_frames": 300, "image": 224}, (2, 3, 224, 224)),
        ({"target_frames": 60, "image": 32, "deltas": 2, "stack": "channels"}, (2, 3, 32, 32)),
    ],
)
def test_sizes_are_as_announced(settings, shape):
    pipeline = FeaturePipeline(Fbank(8), mean_norm, **settings)
    features, counts = pipeline(noise(8000, 5000), torch.tensor([8000, 5000]))
    assert features.shape == shape
    assert (pipeline.dim, pipeline.channels) == (shape[-1], shape[1] if len(shape) == 4 else 1)
    assert (counts is None) == ("target_frames" in settings)
    if counts is not None:
        assert counts.tolist() == [48, 29]


@pytest.mark.parametrize(
    "settings", [{"deltas": 2}, {"target_frames": 35}, {"target_frames": 35, "pad": "zero"}, {"target_frames": 9}]
)
def test_padding_changes_nothing(settings):
    pipeline, lengths = FeaturePipeline(Fbank(8), mean_norm, **settings), [8000, 400, 3111]
    batch = noise(*lengths)
    for row, length in zip(batch, lengths):
        row[length:] = 0.5
    together, counts = pipeline(batch, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        (alone,), _ = pipeline(batch[row : row + 1, :length])
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-4, rtol=0)
        assert counts is None or counts[row] == len(alone)


def test_fixed_frames():
    features = torch.arange(5.0).view(1, 5, 1).repeat(3, 1, 2)
    lengths = torch.tensor([5, 2, 1])
    wrapped = fixed_frames(features, lengths, 4, "wrap")[..., 0]
    assert wrapped.tolist() == [[0, 1, 2, 3], [0, 1, 0, 1], [0, 0, 0, 0]]
    assert fixed_frames(features, lengths, 4, "zero")[1, :, 1].tolist() == [0, 1, 0, 0]
    assert fixed_frames(features, None, 3, "zero")[2, :, 0].tolist() == [1, 2, 3]  # the middle
    channels = fixed_frames(torch.stack([features, -features], dim=1), lengths, 4, "wrap")
    assert channels.shape == (3, 2, 4, 2) and channels[1, 1, :, 0].tolist() == [0, -1, 0, -1]


@pytest.mark.parametrize("frames, dim", [(300, 512), (100, 64)])
def test_images_are_pillows(frames, dim):
    """Pillow's bilinear resize smooths too where it shrinks."""
    features = torch.randn(1, frames, dim, generator=torch.Generator().manual_seed(0))
    image = to_image(features, 224)
    assert image.shape == (1, 3, 224, 224) and torch.equal(image[0, 0], image[0, 2])
    expected = Image.fromarray(features[0].numpy(), mode="F").resize((224, 224), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(image[0, 0].numpy(), np.array(expected), atol=1e-4)


def test_statistics_of_the_training_set():
    pipeline = FeaturePipeline(Fbank(8), TrainingSetNorm, deltas=1, stack="channels")
    assert pipeline.learns and not FeaturePipeline(Fbank(8), mean_norm).learns
    waveforms = [noise(4000, 4000) * level for level in (0.1, 1.0)]
    plain = torch.cat([FeaturePipeline(Fbank(8), deltas=1, stack="channels")(waveform)[0] for waveform in waveforms])
    pipeline.fit(waveforms)
    rows = plain.double().transpose(0, 1).flatten(1, 2)  # (channels, frames of all, dim)
    torch.testing.assert_close(pipeline.norm.mean[:, 0].double(), rows.mean(dim=1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        pipeline.norm.deviation[:, 0].double(), rows.std(dim=1, unbiased=False), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"deltas": 4}, "deltas=4"),
        ({"stack": "rows"}, "stack=rows"),
        ({"target_frames": 0}, "target_frames=0"),
        ({"pad": "reflect"}, "pad=reflect"),
        ({"image": 224}, "image=224 must be at least 1, with target_frames"),
        ({"image": 224, "target_frames": 300, "deltas": 1, "stack": "channels"}, "1 or 3 channels"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FeaturePipeline(Fbank(8), **settings)


def test_raw():
    pipeline, waveform = FeaturePipeline(Raw()), noise(100, 60)
    features, counts = pipeline(waveform, torch.tensor([100, 60]))
    assert torch.equal(features[..., 0], waveform) and features.shape == (2, 100, 1) and counts.tolist() == [100, 60]
