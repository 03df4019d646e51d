"""Against torchaudio's MelSpectrogram, which voxceleb_trainer takes."""

import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from speakerlab.features.voxceleb_trainer_mel import VoxcelebTrainerMel


def reference(waveform: torch.Tensor, num_mels: int, preemphasis: float) -> torch.Tensor:
    """`(samples,) -> (frames, num_mels)`."""
    emphasised = waveform.clone()
    for place in range(len(waveform)) if preemphasis else ():
        emphasised[place] -= preemphasis * waveform[abs(place - 1)]
    spectrogram = MelSpectrogram(
        16000, n_fft=512, win_length=400, hop_length=160, window_fn=torch.hamming_window, n_mels=num_mels
    )
    return (spectrogram(emphasised) + 1e-6).log().T


@pytest.mark.parametrize("num_mels, preemphasis", [(40, 0.0), (64, 0.97)])
def test_it_is_torchaudios_for_each_item(num_mels, preemphasis):
    lengths = [4000, 3333, 481]
    batch = 0.1 * torch.randn(3, 4000, generator=torch.Generator().manual_seed(0))
    feature = VoxcelebTrainerMel(num_mels, preemphasis)
    found, counts = feature(batch, torch.tensor(lengths))
    for row, item, count, length in zip(batch, found, counts.tolist(), lengths, strict=True):
        expected = reference(row[:length], num_mels, preemphasis)
        assert count == len(expected) == 1 + length // 160
        torch.testing.assert_close(item[:count], expected, atol=1e-3, rtol=0)
        torch.testing.assert_close(feature(row[None, :length])[0][0], expected, atol=1e-3, rtol=0)
    assert (feature.dim, feature.channels) == (num_mels, 1)


def test_silence_is_finite():
    torch.testing.assert_close(VoxcelebTrainerMel()(torch.zeros(1, 800))[0], torch.full((1, 6, 40), 1e-6).log())


@pytest.mark.parametrize(
    "settings, named",
    [({"preemphasis": 1.0}, "preemphasis=1.0"), ({"num_mels": 0}, "num_mels=0"), ({"sample_rate": 44100}, "fft_size")],
)
def test_bad_settings_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        VoxcelebTrainerMel(**settings)
