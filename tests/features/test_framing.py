import pytest
import torch

from speakerlab.features.framing import Framing


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
