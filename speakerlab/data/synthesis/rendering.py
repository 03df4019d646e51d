"""Source-filter speech synthesis: a glottal pulse train and noise through moving formants (Klatt, JASA 67, 1980).

The pulses are those of KLGLOTT88 (Klatt and Klatt, JASA 87, 1990). The tract is a cascade of seven resonances, a
nose (pole and zero) and the piriform fossa (zero); it moves by cross-fading frames 10 ms apart, filtered by FFT: as
good as exact for a tract at rest, and some 15 ms of CPU for three seconds of speech.

These files import `scipy.fft` but neither `scipy.signal` nor `scipy.ndimage`: loading those two takes a worker longer
than synthesising a hundred utterances.
"""

from dataclasses import dataclass, fields

import numpy as np
from scipy import fft

SAMPLE_RATE = 16_000
ROW = 80  # samples a row of control
ROW_SECONDS = ROW / SAMPLE_RATE
STEP = 2 * ROW  # between the tract's frames: coarser than amplitudes need, fine enough for formants
# A frame's window is 320 samples; the other 320 hold 20 ms of ringing, in which a 65 Hz resonance decays by 35 dB.
FFT_SIZE = 640


@dataclass(frozen=True)
class Tracks:
    """What mouth and glottis do, one row every 5 ms: formants and bandwidths (rows, 7), all else (rows,).

    `voiced`, `breath` (noise at the glottis) and `hiss` (noise at the teeth) are linear amplitudes, `nasal` is the
    coupling of the nose from 0 to 1.
    """

    pitch_hz: np.ndarray
    formants_hz: np.ndarray
    bandwidths_hz: np.ndarray
    voiced: np.ndarray
    breath: np.ndarray
    hiss: np.ndarray
    hiss_hz: np.ndarray
    hiss_width_hz: np.ndarray
    nasal: np.ndarray


@dataclass(frozen=True)
class Glottis:
    """The pulses: open part of a period (0.3 to 0.9), dB lost at 3 kHz, relative deviations of period and height."""

    open_quotient: float
    tilt_db: float
    jitter: float
    shimmer: float


@dataclass(frozen=True)
class Zeros:
    """The tract's side branches in Hz: nose (zero, and the pole that cancels it while the velum is shut) and fossa."""

    nasal_zero_hz: float
    nasal_pole_hz: float
    fossa_zero_hz: float
    fossa_width_hz: float


def render(tracks: Tracks, glottis: Glottis, zeros: Zeros, rng: np.random.Generator) -> np.ndarray:
    """Clean speech, (rows * 80,) float32 for an even number of rows, of no set level: the caller scales it."""
    samples = len(tracks.pitch_hz) * ROW
    cycles = int(tracks.pitch_hz.sum() * ROW_SECONDS * 1.2) + 8  # enough for any jitter
    periods = 1 + glottis.jitter * np.clip(rng.standard_normal(cycles), -3, 3)
    heights = 1 + glottis.shimmer * np.clip(rng.standard_normal(cycles), -3, 3)
    noise = rng.standard_normal((2, samples), dtype=np.float32)

    pulses, is_open = glottal_pulses(_per_sample(tracks.pitch_hz), periods, heights, glottis.open_quotient)
    # Air rushes while the glottis is open: steady noise would be heard as a second sound beside the voice.
    breath = noise[0] * np.where(is_open, np.float32(1.0), np.float32(0.3))
    frame_tracks = _every_frame(tracks)
    parts = _frames(_per_sample(tracks.voiced) * pulses) * tilt_response(glottis.tilt_db)  # (frames, bins)
    parts += _frames(_per_sample(tracks.breath) * breath)
    parts *= tract_response(frame_tracks, zeros)
    hissing = np.flatnonzero(frame_tracks.hiss > 1e-3)
    hiss = _frames(_per_sample(tracks.hiss) * noise[1], hissing)
    parts[hissing] += hiss * hiss_response(frame_tracks.hiss_hz[hissing], frame_tracks.hiss_width_hz[hissing])
    return _overlap_add(fft.irfft(parts, FFT_SIZE, axis=1))[:samples]


def glottal_pulses(
    pitch_hz: np.ndarray, periods: np.ndarray, heights: np.ndarray, open_quotient: float
) -> tuple[np.ndarray, np.ndarray]:
    """The derivative of the glottal flow, at unit power, and whether the glottis is open; both (samples,).

    Args:
        pitch_hz: (samples,).
        periods: (cycles,) each period over the one that the pitch asks for; at least as many as there are cycles.
        heights: (cycles,) each pulse's height.
        open_quotient: the open part of a period.
    """
    phase = np.cumsum(pitch_hz, dtype=np.float64) / SAMPLE_RATE
    ends = np.concatenate([[0.0], np.cumsum(periods)])
    phase = np.interp(phase, ends, np.arange(len(ends)))
    cycle = np.minimum(phase.astype(int), len(heights) - 1)
    opened = (phase - cycle) / open_quotient
    is_open = opened < 1
    flow = heights[cycle] * np.where(is_open, opened * opened * (1 - opened), 0.0)
    # The flow's difference, not its derivative sampled: the mean over a sample, so the closure's edge aliases less.
    pulses = np.diff(flow, prepend=0.0)
    return pulses / np.sqrt(np.mean(pulses**2)), is_open


def tilt_response(tilt_db: float) -> np.ndarray:
    """A one-pole low-pass, (bins,) complex64: 1 at 0 Hz, less by `tilt_db` at 3 kHz (KLGLOTT88's spectral tilt)."""
    # |H|^2 = (1-a)^2 / (1 - 2 a cos w + a^2) = 10^(-dB/10), solved for the smaller root a.
    power, cosine = 10 ** (-max(tilt_db, 0.1) / 10), np.cos(2 * np.pi * 3000 / SAMPLE_RATE)
    half = (1 - power * cosine) / (1 - power)
    pole = half - np.sqrt(half * half - 1)
    return ((1 - pole) / _response(np.array([[1.0, -pole]])))[0]


def tract_response(tracks: Tracks, zeros: Zeros) -> np.ndarray:
    """Transfer function from glottis to lips, (rows, bins) complex64; 1 at 0 Hz."""
    nasal = tracks.nasal[:, None]
    pole_hz, width = np.full_like(nasal, zeros.nasal_pole_hz), np.full_like(nasal, 100.0)
    # An open velum moves the zero away from the pole, up to its own place; shut, the two cancel.
    zero_hz = pole_hz * (zeros.nasal_zero_hz / zeros.nasal_pole_hz) ** nasal
    fossa = _response(_polynomial(np.array([[zeros.fossa_zero_hz]]), np.array([[zeros.fossa_width_hz]])))
    above = _response(_polynomial(zero_hz, width))
    below = _polynomial(
        np.concatenate([tracks.formants_hz, pole_hz], axis=1),
        np.concatenate([tracks.bandwidths_hz * (1 + 0.6 * nasal), width], axis=1),  # a nose takes energy away
    )
    above *= fossa
    above /= _response(below)
    return above


def hiss_response(centre_hz: np.ndarray, width_hz: np.ndarray) -> np.ndarray:
    """A band-pass of gain 1 at its centre, (rows, bins) complex64: noise made at the teeth meets little tract."""
    radius = np.exp(-np.pi * width_hz / SAMPLE_RATE)
    middle = -2 * radius * np.cos(2 * np.pi * centre_hz / SAMPLE_RATE)
    below = np.stack([np.ones_like(radius), middle, radius * radius], axis=1)
    gain = (1 - radius * radius)[:, None] / 2
    return gain.astype(np.float32) * _response(np.array([1.0, 0.0, -1.0])[None]) / _response(below)


def _polynomial(hz: np.ndarray, width_hz: np.ndarray) -> np.ndarray:
    """Product of `1 - 2 r cos(w) z^-1 + r^2 z^-2`, each 1 at 0 Hz: (rows, pairs) -> (rows, 2 pairs + 1)."""
    radius = np.exp(-np.pi * width_hz / SAMPLE_RATE)
    middle, last = -2 * radius * np.cos(2 * np.pi * hz / SAMPLE_RATE), radius * radius
    product = np.zeros((len(hz), 2 * hz.shape[1] + 1))
    product[:, 0] = 1
    for pair in range(hz.shape[1]):
        grown = product.copy()
        grown[:, 1:] += middle[:, pair, None] * product[:, :-1]
        grown[:, 2:] += last[:, pair, None] * product[:, :-2]
        product = grown
    return product / np.prod(1 + middle + last, axis=1, keepdims=True)


def _response(polynomial: np.ndarray) -> np.ndarray:
    """(rows, terms) -> (rows, bins) complex64; summed in float64, since terms of long products are large and cancel."""
    angle = 2 * np.pi / FFT_SIZE * np.outer(np.arange(polynomial.shape[1]), np.arange(FFT_SIZE // 2 + 1))
    response = np.empty((len(polynomial), FFT_SIZE // 2 + 1), np.complex64)
    # A matrix product over a few terms; a transform would be mostly padding.
    response.real, response.imag = polynomial @ np.cos(angle), polynomial @ -np.sin(angle)
    return response


def _every_frame(tracks: Tracks) -> Tracks:
    """The rows at the frames' centres."""
    return Tracks(*(getattr(tracks, field.name)[1::2] for field in fields(Tracks)))


def _per_sample(track: np.ndarray) -> np.ndarray:
    """(rows,) -> (rows * 80,) float32, in straight lines from each row's value to the next one's."""
    track = track.astype(np.float32)
    slope = np.diff(track, append=track[-1:])
    return (track[:, None] + slope[:, None] * np.linspace(0, 1, ROW, endpoint=False, dtype=np.float32)).reshape(-1)


def _frames(samples: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Spectra of Hann windows of two steps, which add up to 1: (frames * 160,) -> (chosen frames, bins)."""
    padded = np.pad(samples.astype(np.float32), (STEP // 2, STEP // 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * STEP)[::STEP][chosen]  # (frames, 320)
    hann = (0.5 - 0.5 * np.cos(np.pi * np.arange(2 * STEP) / STEP)).astype(np.float32)
    return fft.rfft(windows * hann, FFT_SIZE, axis=1)


def _overlap_add(frames: np.ndarray) -> np.ndarray:
    """(frames, 640) at steps of 160 -> samples, beginning where the first frame's step does."""
    blocks = FFT_SIZE // STEP
    parts = frames.reshape(len(frames), blocks, STEP)
    total = np.zeros((len(frames) + blocks, STEP), dtype=frames.dtype)
    for block in range(blocks):
        total[block : block + len(frames)] += parts[:, block]
    return total.reshape(-1)[STEP // 2 :]
