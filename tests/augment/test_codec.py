import numpy as np
import pytest

from speakerlab.augment.codec import Codec, round_trip

RATE = 16000


def speech(seconds=1.0, rate=RATE):
    """Bursts of a gliding harmonic tone in noise: no period that a shift could hide behind."""
    generator = np.random.default_rng(0)
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 60 * np.sin(2 * np.pi * 1.3 * time)) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    return (0.1 * (tone + 0.03 * generator.standard_normal(len(time))) * (np.sin(2 * np.pi * 3 * time) > -0.5)).astype(
        np.float32
    )


def lag_and_correlation(x, y):
    size = len(x) + len(y)
    product = np.fft.irfft(np.fft.rfft(y, size) * np.conj(np.fft.rfft(x, size)))
    lag = int(product.argmax())
    return lag if lag < size // 2 else lag - size, product.max() / np.linalg.norm(x) / np.linalg.norm(y)


@pytest.mark.parametrize(
    "codec, kbps, least", [("mp3", 8, 0.8), ("mp3", 32, 0.95), ("opus", 8, 0.7), ("opus", 24, 0.75)]
)
@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_sound_comes_back_in_time(codec, kbps, least, rate):
    x = speech(rate=rate)
    y = round_trip(x, codec, kbps, rate)
    assert y.shape == x.shape and y.dtype == np.float32
    lag, correlation = lag_and_correlation(x, y)  # Opus filters the lowest frequencies out, which shifts phases
    assert abs(lag) <= (0 if codec == "mp3" else 4) and correlation > least


@pytest.mark.parametrize("samples", [1, 100, 577, 16001])
@pytest.mark.parametrize("codec", ["mp3", "opus"])
def test_any_length_comes_back(codec, samples):
    x = speech(1.1)[:samples] + np.float32(0.01)
    y = Codec(codec, [16], 1.0).process(x, np.random.default_rng(0))
    assert y.shape == x.shape and np.isfinite(y).all()


@pytest.mark.parametrize("peak", [1e-3, 0.5, 4.0])
@pytest.mark.parametrize("codec", ["mp3", "opus"])
def test_the_level_is_kept_and_a_loud_item_is_not_clipped(codec, peak):
    x = speech()
    x = np.float32(peak) * (x / np.abs(x).max())
    y = Codec(codec, [24], 1.0).process(x, np.random.default_rng(0))
    assert np.linalg.norm(y) == pytest.approx(np.linalg.norm(x), rel=1e-5)
    if peak > 1:  # as it comes back from full scale, which is not overloaded
        within = Codec(codec, [24], 1.0).process(x / 4, np.random.default_rng(0))
        np.testing.assert_allclose(y, 4 * within, rtol=1e-5)


def test_a_low_rate_loses_more():
    x = speech()
    errors = [np.linalg.norm(round_trip(x, "mp3", kbps, RATE) - x) for kbps in (8, 16, 64)]
    assert errors[0] > errors[1] > errors[2]


def test_some_are_coded_by_the_seed_and_silence_stays_silent():
    x = speech(0.1)
    codec = Codec("mp3", [8, 64], 0.5)
    coded = [codec.process(x, np.random.default_rng(seed)) for seed in range(40)]
    spared = [y is x for y in coded]
    assert 10 < sum(spared) < 30
    assert len({y.tobytes() for y in coded}) == 3  # two bit rates and none
    np.testing.assert_array_equal(coded[3], codec.process(x, np.random.default_rng(3)))
    assert not Codec("opus", [8], 1.0).process(np.zeros(100, np.float32), np.random.default_rng(0)).any()


@pytest.mark.parametrize(
    "codec, kbps, rate, message",
    [
        ("aac", [8], RATE, "codec='aac' must be one of mp3, opus"),
        ("mp3", [], RATE, "kbps must hold"),
        ("mp3", [2], RATE, r"kbps=\[2\] must lie within 6 to 320"),
        ("opus", [16], 22050, "opus has no 16 kbps at 22050 Hz"),
    ],
)
def test_bad_arguments_are_named(codec, kbps, rate, message):
    with pytest.raises(ValueError, match=message):
        Codec(codec, kbps, 1.0, rate)
