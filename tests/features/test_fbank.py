"""The filter bank against torchaudio's port of Kaldi's."""

import pytest
import torch
from torchaudio.compliance import kaldi

from speakerlab.features.fbank import Fbank, mel_filters


def speech_like(samples: int, seed: int = 0, sample_rate: int = 16000) -> torch.Tensor:
    """A harmonic tone whose loudness comes and goes, over noise falling with frequency: `(samples,)`, peak 0.5."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples, dtype=torch.float64) / sample_rate
    tone = sum(torch.sin(2 * torch.pi * 120.0 * (h + 1) * time) / (h + 1) for h in range(20))
    noise = torch.randn(samples, generator=generator, dtype=torch.float64)
    noise = noise + 0.9 * noise.roll(1) + 0.5 * noise.roll(2)
    wave = tone * torch.sin(2 * torch.pi * 3.0 * time).clamp(min=0.0) + 0.02 * noise
    return (0.5 * wave / wave.abs().max()).float()


def reference(
    waveform: torch.Tensor, num_mels: int, sample_rate: int, low_hz: float, high_hz: float, window: str = "povey"
) -> torch.Tensor:
    """`(samples,) -> (frames, num_mels)`."""
    return kaldi.fbank(
        waveform[None] * 32768.0,
        num_mel_bins=num_mels,
        sample_frequency=sample_rate,
        low_freq=low_hz,
        high_freq=high_hz,
        dither=0.0,
        energy_floor=1.0,
        window_type=window,
        snip_edges=True,
    )


@pytest.mark.parametrize(
    "num_mels, sample_rate, low_hz, high_hz",
    [
        (80, 16000, 20.0, 0.0),
        (40, 16000, 20.0, -400.0),
        (24, 16000, 0.0, 7600.0),
        (64, 16000, 100.0, 8000.0),
        (40, 8000, 20.0, 0.0),
        (23, 8000, 60.0, 3800.0),
        (80, 44100, 20.0, 8000.0),
    ],
)
def test_it_is_kaldis(num_mels, sample_rate, low_hz, high_hz):
    fbank = Fbank(num_mels, sample_rate, low_hz, high_hz)
    waveform = torch.stack([speech_like(sample_rate, seed, sample_rate) for seed in range(2)])
    features, counts = fbank(waveform)
    expected = torch.stack([reference(row, num_mels, sample_rate, low_hz, high_hz) for row in waveform])
    assert counts is None and fbank.dim == num_mels and fbank.channels == 1
    torch.testing.assert_close(features, expected, atol=1e-3, rtol=0)


def test_hammings_window():
    waveform = speech_like(16000)
    expected = reference(waveform, 80, 16000, 20.0, 0.0, "hamming")
    torch.testing.assert_close(Fbank(window="hamming")(waveform[None])[0][0], expected, atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="window=hann must be one of povey, hamming"):
        Fbank(window="hann")


def test_frames_further_apart():
    """Every third frame at 5 ms is every frame at 15 ms."""
    waveform = speech_like(16000)[None]
    often, _ = Fbank(40, shift_ms=5)(waveform)
    seldom, counts = Fbank(40, shift_ms=15)(waveform, torch.tensor([16000]))
    assert torch.equal(seldom, often[:, ::3]) and counts.tolist() == [seldom.shape[1]]
    with pytest.raises(ValueError, match="shift_ms=26 must lie in 1 to 25"):
        Fbank(40, shift_ms=26)


def test_silence_has_kaldis_floor():
    features, _ = Fbank(40)(torch.zeros(1, 1600))
    torch.testing.assert_close(features[0], reference(torch.zeros(1600), 40, 16000, 20.0, 0.0))


@pytest.mark.parametrize("samples, frames", [(400, 1), (559, 1), (560, 2), (719, 2), (16000, 98)])
def test_frame_counts(samples, frames):
    features, counts = Fbank(8)(speech_like(samples)[None], torch.tensor([samples]))
    assert features.shape == (1, frames, 8) and counts.tolist() == [frames]


@pytest.mark.parametrize("padding", ["zeros", "garbage"])
def test_padding_changes_nothing(padding):
    fbank = Fbank(40)
    lengths = [8000, 400, 3111, 7999]
    alone = [speech_like(length, seed) for seed, length in enumerate(lengths)]
    batch = torch.zeros(4, 8000) if padding == "zeros" else torch.full((4, 8000), 0.7)
    for row, waveform in zip(batch, alone, strict=True):
        row[: len(waveform)] = waveform
    features, counts = fbank(batch, torch.tensor(lengths))
    for item, count, waveform in zip(features, counts.tolist(), alone, strict=True):
        expected, _ = fbank(waveform[None])
        assert count == expected.shape[1]
        torch.testing.assert_close(item[:count], expected[0], atol=1e-4, rtol=0)


def test_too_short_audio_is_refused():
    with pytest.raises(ValueError, match="399 samples are shorter than one frame of 400"):
        Fbank(8)(torch.zeros(2, 399))


@pytest.mark.parametrize(
    "sample_rate, low_hz, high_hz",
    [(16000, 20.0, 8001.0), (8000, 20.0, 7600.0), (16000, 4000.0, 4000.0), (16000, -1.0, 0.0), (16000, 20.0, -8000.0)],
)
def test_bad_bands_are_refused(sample_rate, low_hz, high_hz):
    with pytest.raises(ValueError, match=rf"low_hz={low_hz} and high_hz={high_hz} must span"):
        Fbank(8, sample_rate, low_hz, high_hz)


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_gradients_of_constant_input_are_finite(level):
    waveform = torch.full((1, 1600), level, requires_grad=True)
    features, _ = Fbank(40)(waveform, torch.tensor([1600]))
    features.square().sum().backward()
    assert waveform.grad.isfinite().all()


def test_gradients_are_the_slopes():
    """Against a central difference in a random direction, which also shows that nothing detaches."""
    fbank, waveform = Fbank(8), speech_like(800)
    weights = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    leaf = waveform[None].clone().requires_grad_()
    (fbank(leaf)[0][0] * weights).sum().backward()
    direction = torch.randn(800, generator=torch.Generator().manual_seed(2))
    step = 1e-3 * waveform.abs().max()
    ahead, behind = (fbank((waveform + sign * step * direction)[None])[0][0] for sign in (1.0, -1.0))
    slope = ((ahead - behind) * weights).sum() / (2 * step)
    torch.testing.assert_close((leaf.grad[0] * direction).sum(), slope, rtol=0.05, atol=0.5)


def test_buffers_stay_out_of_checkpoints():
    assert Fbank(8).state_dict() == {}


def test_the_most_filters_that_work():
    """At 16 kHz from 20 Hz on; one more and a filter lies between two bins of 31.25 Hz."""
    with pytest.raises(ValueError, match="num_mels=500 leaves filters empty; at most (?P<most>\\d+) fit") as caught:
        Fbank(num_mels=500)
    most = int(str(caught.value).split("at most ")[1].split()[0])
    assert (Fbank(num_mels=most).filters.sum(dim=0) > 0).all()
    assert (mel_filters(most + 1, 512, 16000, 20.0, 8000.0).sum(axis=0) == 0).any()
    with pytest.raises(ValueError, match="num_mels=1000000000 leaves filters empty"):
        Fbank(num_mels=10**9)
