import numpy as np
import pytest
import torch

from speakerlab.augment.babble import Babble, mix_talkers

SAMPLES = 4000
CLIPS = [(f"{i}.wav", 3 * SAMPLES, 16000) for i in range(12)]


def read_voice(path, first, count):
    """A tone of the file's own frequency, at its own level."""
    number = int(path.split(".")[0])
    time = np.arange(first, first + count)
    return (10.0 ** (-number / 4) * np.sin(2 * np.pi * (number + 1) * time / 100)).astype(np.float32)


def make(talkers=(3, 8), probability=1.0):
    return Babble("speech", CLIPS, read_voice, talkers, [13, 20], probability)


def test_three_to_eight_different_talkers_equally_loud():
    counts = []
    for seed in range(300):
        drawn = make().draw(np.random.default_rng(seed), SAMPLES)
        power = 2 * np.abs(np.fft.rfft(drawn["noise"])) ** 2 / SAMPLES**2  # of the tone i at bin 40 (i + 1)
        tones = power[40 * np.arange(1, 13)]
        assert np.allclose(tones[tones > 1e-6], 1.0, atol=1e-3)  # each talker once, at RMS 1
        counts.append((tones > 1e-6).sum())
        assert 13 <= drawn["snr_db"] <= 20
    numbers, often = np.unique(counts, return_counts=True)
    assert numbers.tolist() == [3, 4, 5, 6, 7, 8] and often.min() > 25


@pytest.mark.parametrize("dbfs", [-80, -30, 0])
def test_the_snr_of_their_sum_measures_back(dbfs):
    items = [make().draw(np.random.default_rng(seed), SAMPLES) for seed in range(20)]
    drawn = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}
    speech = 10 ** (dbfs / 20) * torch.randn(20, SAMPLES, generator=torch.Generator().manual_seed(0))
    added = make().apply(speech, drawn).double() - speech.double()
    snr_db = 10 * torch.log10(speech.double().square().mean(dim=1) / added.square().mean(dim=1))
    torch.testing.assert_close(snr_db, drawn["snr_db"].double(), atol=1e-3, rtol=0)


def test_a_silent_talker_adds_nothing():
    talker = np.array([0.3, -0.3], np.float32)
    np.testing.assert_allclose(mix_talkers([talker, np.zeros(2), 1e-6 * talker]), [2.0, -2.0], rtol=1e-6)


def test_spared_items_hear_none():
    silent = [not make(probability=0.4).draw(np.random.default_rng(seed), 10)["noise"].any() for seed in range(500)]
    assert 260 < sum(silent) < 340


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"talkers=\[3, 13\]: the folder speech holds only 12 files"):
        make([3, 13])
    with pytest.raises(ValueError, match=r"talkers=\[0, 3\]"):
        make([0, 3])
    with pytest.raises(ValueError, match="folder nowhere holds no audio"):
        Babble("nowhere", [], read_voice, [3, 8], [13, 20])
