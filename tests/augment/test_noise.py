import pickle

import numpy as np
import pytest
import torch

from speakerlab.augment.noise import AdditiveNoise, add_noise

SAMPLES = 16000


def read_noise(path, first, count):
    """A file of uniform noise whose content depends on its name, read in part."""
    noise = np.random.default_rng(len(path)).uniform(-0.3, 0.3, 5 * SAMPLES)
    return noise[first : first + count].astype(np.float32)


def make(probability=1.0, snr_db=(0.0, 15.0)):
    clips = [("a", 5 * SAMPLES, 16000), ("bb", 4000, 16000), ("ccc", 2 * SAMPLES, 16000)]
    return AdditiveNoise("noise", clips, read_noise, snr_db, probability)


def draw_batch(augmentation, seeds, samples=SAMPLES):
    drawn = [augmentation.draw(np.random.default_rng(seed), samples) for seed in seeds]
    return {key: torch.stack([torch.from_numpy(item[key]) for item in drawn]) for key in drawn[0]}


def waveform(batch, samples=SAMPLES, seed=0):
    return torch.rand(batch, samples, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def measured_snr(speech, noisy):
    """Independent of the code: float64, from what was really added."""
    speech, added = speech.double(), noisy.double() - speech.double()
    return 10 * torch.log10(speech.square().mean(dim=1) / added.square().mean(dim=1))


@pytest.mark.parametrize("noise_dbfs", [-90, -30, 0])
@pytest.mark.parametrize("speech_dbfs", [-90, -60, -30, 0])
def test_snr_measures_back_at_any_level(speech_dbfs, noise_dbfs):
    wanted = torch.tensor([-10.0, 0.0, 7.3, 15.0, 40.0])
    speech = waveform(5) * 10 ** (speech_dbfs / 20)
    noise = waveform(5, seed=1) * 10 ** (noise_dbfs / 20)
    noisy = add_noise(speech, noise, wanted)
    assert noisy.dtype == torch.float32
    torch.testing.assert_close(measured_snr(speech, noisy), wanted.double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("silent", ["speech", "noise", "both"])
def test_silence_is_left_untouched(silent):
    speech, noise = waveform(3), waveform(3, seed=1)
    if silent != "noise":
        speech[1] = 0
    if silent != "speech":
        noise[1] = 0
    noisy = add_noise(speech, noise, torch.zeros(3))
    assert torch.equal(noisy[1], speech[1]) and noisy.isfinite().all()
    assert not torch.equal(noisy[0], speech[0])


def test_extreme_levels_stay_finite():
    levels = torch.tensor([1e-45, 1e-40, 1e-37, 1.0])
    grid = torch.cartesian_prod(levels, levels)
    noisy = add_noise(waveform(16) * grid[:, :1], waveform(16, seed=1) * grid[:, 1:], torch.full((16,), -20.0))
    assert noisy.isfinite().all()


def test_spared_items_are_bit_identical_and_have_the_same_keys_and_shapes():
    spared, noisy = draw_batch(make(0.0), range(4)), draw_batch(make(1.0), range(4))
    assert {k: (v.shape, v.dtype) for k, v in spared.items()} == {k: (v.shape, v.dtype) for k, v in noisy.items()}
    assert spared["noise"].dtype == spared["snr_db"].dtype == torch.float32
    x = waveform(4)
    assert torch.equal(make(0.0).apply(x, spared), x)


def test_the_share_of_noisy_items_and_the_snr_follow_the_arguments():
    snr_db = draw_batch(make(0.3, (5.0, 10.0)), range(2000), samples=10)["snr_db"]
    drawn = snr_db[snr_db.isfinite()]
    assert abs(len(drawn) / 2000 - 0.3) < 0.04
    assert 5.0 <= drawn.min() < 5.1 and 9.9 < drawn.max() <= 10.0 and abs(drawn.mean() - 7.5) < 0.2


def test_draws_repeat_for_a_seed_and_differ_between_seeds():
    first, again, other = (draw_batch(make(), [seed]) for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["noise"], other["noise"]) and first["snr_db"] != other["snr_db"]


def test_items_do_not_depend_on_batch_mates():
    x, drawn, augmentation = waveform(6), draw_batch(make(0.5), range(6)), make(0.5)
    together = augmentation.apply(x, drawn)
    for i in range(6):
        alone = augmentation.apply(x[i : i + 1], {key: value[i : i + 1] for key, value in drawn.items()})
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-7, rtol=0)


def test_autocast_changes_nothing():
    x, drawn = waveform(2), draw_batch(make(), range(2))
    plain = make().apply(x, drawn)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(make().apply(x, drawn), plain)


def test_a_pickled_copy_draws_the_same():
    copy = pickle.loads(pickle.dumps(make()))
    assert torch.equal(draw_batch(copy, [3])["noise"], draw_batch(make(), [3])["noise"])


@pytest.mark.parametrize("snr_db", [(10.0, 5.0), (1.0,), (0.0, float("inf")), (float("nan"), 5.0)])
def test_bad_ranges_are_named(snr_db):
    with pytest.raises(ValueError, match="snr_db=.*low <= high"):
        make(snr_db=snr_db)


def test_bad_probabilities_and_empty_folders_are_named():
    with pytest.raises(ValueError, match="probability=1.5"):
        make(probability=1.5)
    with pytest.raises(ValueError, match="folder nowhere holds no audio"):
        AdditiveNoise("nowhere", [], read_noise, [0, 15], 0.5)
