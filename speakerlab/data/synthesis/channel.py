"""A recording session: microphone and line as one smooth filter, level, and background noise."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from speakerlab.data.synthesis.rendering import SAMPLE_RATE

TAPS = 512
CURVE_TERMS = 7


@dataclass(frozen=True)
class Channel:
    """What all recordings of a session share.

    `colour_db` and `noise_db` are the filters of speech and of noise, in dB at `TAPS / 2 + 1` frequencies from 0 to
    8 kHz; `level_db` is the speech's root mean square below full scale, `snr_db` its distance from the noise.
    """

    colour_db: np.ndarray
    noise_db: np.ndarray
    level_db: float
    snr_db: float


def draw_channel(rng: np.random.Generator) -> Channel:
    """A random microphone in a random place: coloured by 1.5 dB, band-limited, with noise 20 to 38 dB down."""
    hz = np.linspace(0, SAMPLE_RATE / 2, TAPS // 2 + 1)
    low_cut, high_cut = rng.uniform(40, 120), rng.uniform(6500, 9000)
    edges = -10 * np.log10(1 + (low_cut / np.maximum(hz, 1)) ** 4) - 10 * np.log10(1 + (hz / high_cut) ** 8)
    return Channel(
        colour_db=_smooth_curve(rng, hz, 1.5) + np.maximum(edges, -40),
        noise_db=_smooth_curve(rng, hz, 2.0) - rng.uniform(3, 7) * np.log2(np.maximum(hz, 60) / 60),
        level_db=rng.uniform(-32, -20),
        snr_db=rng.uniform(20, 38),
    )


def record(speech: np.ndarray, channel: Channel, level_db: float, rng: np.random.Generator) -> np.ndarray:
    """The recording of (samples,) speech, as int16, never clipped.

    Args:
        speech: clean, of any level.
        channel: the session.
        level_db: how much louder than the session's mean this utterance is.
        rng: the noise.
    """
    heard = _filter(speech, minimum_phase(channel.colour_db))
    heard *= 10 ** ((channel.level_db + level_db) / 20) / np.sqrt(np.mean(heard**2))
    noise = _filter(rng.standard_normal(len(speech), dtype=np.float32), minimum_phase(channel.noise_db))
    noise *= 10 ** ((channel.level_db - channel.snr_db) / 20) / np.sqrt(np.mean(noise**2))
    heard += noise
    heard *= min(1.0, 0.95 / np.abs(heard).max())
    return np.round(heard * 32767).astype(np.int16)


def minimum_phase(response_db: np.ndarray) -> np.ndarray:
    """The causal filter, (`TAPS`,) float32, of a magnitude in dB at `TAPS / 2 + 1` frequencies: a folded cepstrum."""
    cepstrum = fft.irfft(response_db * (np.log(10) / 20), TAPS)
    cepstrum[1 : TAPS // 2] *= 2
    cepstrum[TAPS // 2 + 1 :] = 0
    return fft.irfft(np.exp(fft.rfft(cepstrum)), TAPS).astype(np.float32)


def _filter(samples: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """The causal convolution with (`TAPS`,), as long as `samples`, block by block: long transforms miss the cache."""
    size = 4 * TAPS
    step = size - TAPS
    blocks = np.pad(samples, (0, -len(samples) % step)).reshape(-1, step)
    full = fft.irfft(fft.rfft(blocks, size, axis=1) * fft.rfft(taps, size), size, axis=1)
    full[1:, :TAPS] += full[:-1, step:]
    return full[:, :step].reshape(-1)[: len(samples)]


def _smooth_curve(rng: np.random.Generator, hz: np.ndarray, deviation_db: float) -> np.ndarray:
    """A random curve over the mel scale, without mean, (frequencies,): cosines whose heights fall with their order."""
    position = np.log1p(hz / 700) / np.log1p(hz[-1] / 700)
    order = np.arange(1, CURVE_TERMS + 1)
    heights = rng.normal(size=CURVE_TERMS) / np.sqrt(order)
    expected = np.sqrt(np.sum(1 / order) / 2)
    return deviation_db / expected * (heights[:, None] * np.cos(np.pi * order[:, None] * position)).sum(axis=0)
