"""Synthetic speakers: what a voice is, how it is used on a day, and the control tracks of one utterance.

A speaker is a tract (length, individual formants, zeros), a glottis (pitch, open quotient, tilt, breath, jitter,
shimmer) and habits (vowel space, rate, intonation, nasality). `draw_voice` draws all of it; `draw_delivery` draws how
the speaker departs from it in one utterance; `control_tracks` turns a sentence into the numbers that drive
`rendering.render`, one row every 5 ms.

Spreads are those of adults: tract length by sex and within a sex (Fitch and Giedd, JASA 106, 1999), pitch (Traunmueller
and Eriksson 1995), upper formants and the piriform fossa's zero (Dang and Honda, JASA 101, 1997; Kitamura et al. 2005).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from speakerlab.data.synthesis.phonemes import VOWELS, Sentence
from speakerlab.data.synthesis.rendering import ROW_SECONDS, Tracks

# Formants 4 to 7 of a uniform tube of 17.5 cm, in Hz; at 16 kHz the eighth hardly matters.
UPPER_FORMANTS_HZ = np.array([3500.0, 4500.0, 5500.0, 6500.0])
BANDWIDTHS_HZ = np.array([65.0, 90.0, 140.0, 200.0, 280.0, 360.0, 450.0])
NEUTRAL_HZ = np.array([500.0, 1500.0, 2500.0])


@dataclass(frozen=True)
class Voice:
    """One speaker. Ratios are relative to the tables' average man; `*_db` are levels relative to the glottal pulses."""

    formant_scale: float  # 17.5 cm / tract length
    formant_factors: np.ndarray  # (7,) this person's own formants over those of a scaled average tract
    vowel_factors: np.ndarray  # (vowels, 2) how this person says each vowel: F1 and F2
    vowel_space: float  # distances from the neutral vowel
    bandwidth_scale: float
    pitch_hz: float  # median
    pitch_range: float  # height of an accent, semitones
    pitch_fall: float  # declination over a phrase, semitones
    open_quotient: float
    tilt_db: float  # lost at 3 kHz to soft closure
    breath_db: float
    jitter: float  # standard deviation of a period, relative
    shimmer: float  # standard deviation of a pulse's height, relative
    rate: float
    nasality: float  # coupling of the nose in vowels, 0 to 1
    nasal_zero_hz: float
    nasal_pole_hz: float
    fossa_zero_hz: float
    fossa_width_hz: float
    hiss_scale: float  # centre of fricative noise
    hiss_level: float  # how sharp the fricatives are


@dataclass(frozen=True)
class Delivery:
    """How one utterance departs from the speaker's habit: pitch in semitones, effort in deviations, rate as a ratio."""

    semitones: float
    effort: float
    rate: float


def draw_voice(rng: np.random.Generator, gender: str) -> Voice:
    """A random adult; `gender` is "m" or "f"."""
    male = gender == "m"
    spread = np.clip(rng.normal(size=17), -2.2, 2.2)
    scale = (1.0 if male else 1.165) * (1 + 0.06 * spread[0])
    return Voice(
        formant_scale=scale,
        formant_factors=1 + np.array([0.03, 0.04, 0.05, 0.06, 0.06, 0.06, 0.06]) * np.clip(rng.normal(size=7), -2, 2),
        vowel_factors=1 + 0.035 * np.clip(rng.normal(size=(len(VOWELS), 2)), -2, 2),
        vowel_space=1 + 0.12 * spread[1],
        bandwidth_scale=np.exp(0.3 * spread[2]),
        # A longer tract tends to go with a larger larynx: a part of the pitch follows the formants.
        pitch_hz=(118.0 if male else 205.0) * 2 ** ((2.2 * spread[3] + 0.6 * spread[0]) / 12),
        pitch_range=3.0 * np.exp(0.4 * spread[4]),
        pitch_fall=2.5 * np.exp(0.4 * spread[5]),
        open_quotient=(0.58 if male else 0.66) + 0.07 * spread[6],
        tilt_db=(4.5 if male else 6.5) + 3.0 * spread[7],
        breath_db=(-32.0 if male else -28.0) + 5.0 * spread[8],
        jitter=0.006 * np.exp(0.4 * spread[9]),
        shimmer=0.04 * np.exp(0.4 * spread[10]),
        rate=np.exp(0.12 * spread[11]),
        nasality=np.clip(0.2 + 0.18 * spread[12], 0, 1),
        nasal_zero_hz=1100 * np.exp(0.22 * spread[13]),
        nasal_pole_hz=260 * scale * np.exp(rng.uniform(-0.12, 0.12)),
        fossa_zero_hz=4500 * scale**0.5 * np.exp(0.1 * spread[14]),
        fossa_width_hz=rng.uniform(250, 700),
        hiss_scale=scale**0.5 * (1 + 0.07 * spread[15]),
        hiss_level=np.exp(0.35 * spread[16]),
    )


def draw_delivery(session_rng: np.random.Generator, utterance_rng: np.random.Generator) -> Delivery:
    """The day's mood, the same for all of a session, plus the moment's."""
    day, moment = session_rng.normal(size=3), utterance_rng.normal(size=3)
    return Delivery(
        semitones=1.0 * day[0] + 0.7 * moment[0],
        effort=0.7 * day[1] + 0.5 * moment[1],
        rate=float(np.exp(0.07 * day[2] + 0.06 * moment[2])),
    )


def control_tracks(voice: Voice, delivery: Delivery, sentence: Sentence, rng: np.random.Generator) -> Tracks:
    """What mouth and glottis do, an even number of rows, 5 ms each.

    Formants glide between the segments' targets as weighted means over some 60 ms (coarticulation); a target of little
    pull gives way to its neighbours', and in fast speech vowels fall short of theirs.
    """
    rows = np.maximum(1, np.round(sentence.seconds / ROW_SECONDS)).astype(int)
    rows[-1] += rows.sum() % 2
    owner = np.repeat(np.arange(len(rows)), rows)  # (rows,) the segment of each row
    targets = _formant_targets(voice, delivery, sentence)  # (segments, 3)
    pull = np.array([segment.pull for segment in sentence.segments])[owner]
    glide = _smooth(pull[:, None] * targets[owner], 4.5) / _smooth(pull, 4.5)[:, None]
    upper = UPPER_FORMANTS_HZ * voice.formant_scale * voice.formant_factors[3:]
    formants = np.concatenate([glide, np.broadcast_to(upper, (len(owner), 4))], axis=1)

    amplitudes = np.array([(s.voiced, s.nasal, s.breath, s.hiss) for s in sentence.segments])[owner]
    # 5 ms for the mouth's noises, so that bursts stay bursts; 10 ms for voice and velum.
    (voiced, nasal), (breath, hiss) = _smooth(amplitudes[:, :2], 2.0).T, _smooth(amplitudes[:, 2:], 1.0).T
    bands = np.array([(s.hiss_hz, s.hiss_width_hz) for s in sentence.segments])[owner]
    return Tracks(
        pitch_hz=_pitch(voice, delivery, sentence, owner, rng),
        formants_hz=np.minimum(formants, 7800.0),
        bandwidths_hz=np.broadcast_to(BANDWIDTHS_HZ * voice.bandwidth_scale * voice.formant_scale, formants.shape),
        voiced=voiced * _smooth(0.8 + 0.3 * sentence.stress[owner], 4.0),
        breath=breath + voiced * 10 ** (voice.breath_db / 20),
        hiss=hiss * voice.hiss_level * np.exp(0.1 * delivery.effort),
        hiss_hz=np.minimum(bands[:, 0] * voice.hiss_scale, 7000.0),
        hiss_width_hz=bands[:, 1],
        nasal=np.clip(nasal + voice.nasality * voiced, 0, 1),
    )


def _smooth(track: np.ndarray, rows: float) -> np.ndarray:
    """Gaussian means over time, of standard deviation `rows`; (rows,) or (rows, columns), as it came."""
    reach = int(4 * rows)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / rows) ** 2)
    kernel /= kernel.sum()
    columns = np.pad(track.reshape(len(track), -1), ((reach, reach), (0, 0)), mode="edge").T
    return np.stack([np.convolve(column, kernel, "valid") for column in columns], axis=1).reshape(track.shape)


def _formant_targets(voice: Voice, delivery: Delivery, sentence: Sentence) -> np.ndarray:
    """Targets of F1 to F3 in Hz, (segments, 3)."""
    table = np.array([segment.formants_hz for segment in sentence.segments])
    spread = NEUTRAL_HZ + (table - NEUTRAL_HZ) * voice.vowel_space
    is_vowel = sentence.vowel >= 0
    spread[is_vowel, :2] *= voice.vowel_factors[sentence.vowel[is_vowel]]
    targets = spread * voice.formant_scale * voice.formant_factors[:3]
    targets[:, 0] *= 1 + 0.03 * delivery.effort  # a raised voice opens the jaw
    # Formants that cross would trade names; tongues keep them at least 200 Hz apart.
    targets[:, 0] = np.maximum(targets[:, 0], 200.0)
    for upper in (1, 2):
        targets[:, upper] = np.maximum(targets[:, upper], targets[:, upper - 1] + 200.0)
    return targets


def _pitch(
    voice: Voice, delivery: Delivery, sentence: Sentence, owner: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Fundamental in Hz, (rows,): accents on stressed syllables, a fall over each phrase, and a slow drift."""
    pauses = np.array([segment.pull < 0.05 for segment in sentence.segments])[owner]
    bounds = [0, *(np.flatnonzero(np.diff(pauses)) + 1), len(owner)]
    fall = np.concatenate([np.linspace(0.5, -0.5, end - begin) for begin, end in pairwise(bounds)])
    accents = _smooth(sentence.stress[owner] * rng.uniform(0.6, 1.4, len(sentence.segments))[owner], 9.0)
    drift = _smooth(rng.normal(size=len(owner)), 30.0) * np.sqrt(30.0)  # some 0.5 semitones
    semitones = voice.pitch_range * (accents - 0.4) + voice.pitch_fall * _smooth(fall, 6.0) + drift
    raised = delivery.semitones + 0.8 * delivery.effort
    return np.clip(voice.pitch_hz * 2 ** ((semitones + raised) / 12), 55.0, 420.0)
