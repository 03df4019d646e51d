import numpy as np
import pytest
import torch

from speakerlab.features.framing import CentredFraming, Framing


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
