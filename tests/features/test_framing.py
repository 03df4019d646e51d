import numpy as np
import pytest
import torch

from speakerlab.features.framing import CentredFraming, Framing, power_by_products, power_spectrum


@pytest.mark.parametrize("sample_rate, length, shift", [(16000, 400, 160), (8000, 200, 80), (44100, 1102, 441)])
def test_frames_and_their_number(sample_rate, length, shift):
    framing, waveform = Framing(sample_rate), torch.arange(5000.0)[None]
    frames = framing.split(waveform)
    starts = list(range(0, 5000 - length + 1, shift))
    assert [frame.tolist() for frame in frames[0]] == [list(range(start, start + length)) for start in starts]
    assert framing.counts(torch.tensor([5000, length])).tolist() == [len(starts), 1]
    assert framing.counts(None) is None


def test_too_short_audio_is_refused():
    with pytest.raises(ValueError, match="399 samples are shorter than one frame of 400"):
        Framing(16000).split(torch.zeros(2, 399))


@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize("fft_size", [400, 512])
def test_centred_frames_go_on_beyond_each_items_ends(reflect, fft_size):
    """Each item as NumPy pads it, whatever the batch is padded with."""
    framing = CentredFraming(16000, fft_size, reflect)
    lengths = [2000, 1111, 480]
    batch = torch.randn(3, 2000, generator=torch.Generator().manual_seed(0))
    frames, counts = framing.split(batch, torch.tensor(lengths)), framing.counts(torch.tensor(lengths))
    for row, length, found, count in zip(batch, lengths, frames, counts.tolist(), strict=True):
        padded = np.pad(row[:length].numpy(), fft_size // 2, mode="reflect" if reflect else "constant")
        expected = [padded[start : start + fft_size] for start in range(0, len(padded) - fft_size + 1, 160)]
        assert count == len(expected) == 1 + length // 160
        np.testing.assert_array_equal(found[:count], np.stack(expected))
        assert torch.equal(framing.split(row[None, :length], None)[0], found[:count])
    assert framing.counts(None) is None


def test_a_window_longer_than_the_transform_is_refused():
    with pytest.raises(ValueError, match="fft_size=512 must be at least a frame, 1102 samples"):
        CentredFraming(44100, 512)
    with pytest.raises(ValueError, match="399 samples are shorter than one frame of 400"):
        CentredFraming(16000).split(torch.zeros(1, 399), None)


@pytest.mark.parametrize("length, fft_size", [(400, 512), (600, 1024), (200, 256), (400, 400)])
def test_the_spectrum_of_exported_graphs(length, fft_size):
    """It is NumPy's in float64, to float32's last digits, also where a bin holds next to nothing."""
    time = torch.arange(float(length))
    tones = torch.stack([1000 * torch.sin(0.1 * time) + torch.sin(2.0 * time), torch.randn(length)])[None]
    window = torch.hann_window(length)
    found = power_by_products(tones * window, fft_size)
    expected = np.abs(np.fft.rfft((tones * window).double().numpy(), fft_size)) ** 2
    assert found.dtype == torch.float32 and found.shape == (1, 2, fft_size // 2 + 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(power_spectrum(tones, window, fft_size), expected, rtol=1e-3, atol=1e-2)
