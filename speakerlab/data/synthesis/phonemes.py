"""The phonemes of the synthetic voices, and random sentences made of them.

Formants are those of an average adult man in Hz; `voice.py` moves them to a speaker. Vowels: Hillenbrand, Getty,
Clark, Wheeler: "Acoustic characteristics of American English vowels", JASA 97, 1995, table V. Consonant loci and
noise bands: rounded from Klatt: "Software for a cascade/parallel formant synthesizer", JASA 67, 1980, tables II-III.
"""

from typing import NamedTuple

import numpy as np


class Segment(NamedTuple):
    """A stretch of speech with one articulatory target.

    `pull` is how strongly the target holds against its neighbours' (the dominance of Cohen and Massaro 1993): a vowel
    has 1; /h/ hardly any, so it takes the formants of what surrounds it. Amplitudes are linear, relative to a vowel.
    """

    formants_hz: tuple[float, float, float]
    pull: float
    seconds: float
    voiced: float = 0.0
    breath: float = 0.0
    hiss: float = 0.0
    hiss_hz: float = 3000.0
    hiss_width_hz: float = 2000.0
    nasal: float = 0.0


def _vowel(first: float, second: float, third: float, seconds: float) -> Segment:
    return Segment((first, second, third), pull=1.0, seconds=seconds, voiced=1.0)


def _stop(place: tuple[float, float, float], burst: tuple[float, float, float], breath: float) -> list[Segment]:
    """Closure, burst of noise `(amplitude, hz, width_hz)`, and for `breath` > 0 an aspiration of 40 ms."""
    closure = Segment(place, 0.5, 0.055, voiced=0.0 if breath else 0.12)
    release = Segment(place, 0.5, 0.012, hiss=burst[0], hiss_hz=burst[1], hiss_width_hz=burst[2])
    if not breath:
        return [closure, release]
    return [closure, release, Segment(place, 0.1, 0.040, breath=breath)]


LABIAL, ALVEOLAR, VELAR = (250.0, 900.0, 2100.0), (250.0, 1750.0, 2650.0), (250.0, 1900.0, 2300.0)
_SH = Segment((300, 1850, 2500), 0.5, 0.095, hiss=0.9, hiss_hz=3100, hiss_width_hz=1300)

VOWELS: dict[str, list[Segment]] = {
    "iy": [_vowel(342, 2322, 3000, 0.115)],
    "ih": [_vowel(427, 2034, 2684, 0.090)],
    "eh": [_vowel(580, 1799, 2605, 0.100)],
    "ae": [_vowel(588, 1952, 2601, 0.130)],
    "aa": [_vowel(768, 1333, 2522, 0.125)],
    "ao": [_vowel(652, 997, 2538, 0.125)],
    "uh": [_vowel(469, 1122, 2434, 0.090)],
    "uw": [_vowel(378, 997, 2343, 0.115)],
    "ah": [_vowel(623, 1200, 2550, 0.085)],
    "er": [_vowel(474, 1379, 1710, 0.115)],
    "ay": [_vowel(768, 1333, 2522, 0.090), _vowel(427, 2034, 2684, 0.070)],
    "aw": [_vowel(768, 1333, 2522, 0.090), _vowel(469, 1122, 2434, 0.070)],
    "ow": [_vowel(555, 1035, 2500, 0.080), _vowel(420, 850, 2400, 0.060)],
}

CONSONANTS: dict[str, list[Segment]] = {
    "m": [Segment((280, 1000, 2200), 0.5, 0.070, voiced=0.6, nasal=1.0)],
    "n": [Segment((280, 1600, 2500), 0.6, 0.065, voiced=0.6, nasal=1.0)],
    "ng": [Segment((280, 2000, 2400), 0.6, 0.075, voiced=0.6, nasal=1.0)],
    "l": [Segment((360, 1100, 2700), 0.9, 0.065, voiced=0.75)],
    "r": [Segment((330, 1150, 1500), 0.9, 0.065, voiced=0.8)],
    "w": [Segment((300, 650, 2200), 0.9, 0.065, voiced=0.75)],
    "y": [Segment((280, 2250, 3000), 0.9, 0.060, voiced=0.75)],
    "s": [Segment((300, 1650, 2600), 0.5, 0.095, hiss=0.9, hiss_hz=5600, hiss_width_hz=1700)],
    "sh": [_SH],
    "f": [Segment((300, 1000, 2200), 0.3, 0.085, hiss=0.18, hiss_hz=5500, hiss_width_hz=5000)],
    "th": [Segment((300, 1400, 2500), 0.3, 0.080, hiss=0.14, hiss_hz=5000, hiss_width_hz=5000)],
    "z": [Segment((300, 1650, 2600), 0.5, 0.070, voiced=0.35, hiss=0.5, hiss_hz=5600, hiss_width_hz=1700)],
    "v": [Segment((300, 1000, 2200), 0.4, 0.060, voiced=0.45, hiss=0.08, hiss_hz=5500, hiss_width_hz=5000)],
    "h": [Segment((500, 1500, 2500), 0.05, 0.055, breath=0.3)],
    "p": _stop(LABIAL, (0.4, 900, 1500), 0.25),
    "t": _stop(ALVEOLAR, (0.9, 4300, 2500), 0.25),
    "k": _stop(VELAR, (0.8, 1900, 800), 0.25),
    "b": _stop(LABIAL, (0.3, 800, 1500), 0.0),
    "d": _stop(ALVEOLAR, (0.6, 4000, 2500), 0.0),
    "g": _stop(VELAR, (0.5, 1800, 800), 0.0),
    "ch": [_stop(ALVEOLAR, (0.9, 4000, 2500), 0.0)[0]._replace(voiced=0.0), _SH._replace(seconds=0.07)],
}

ONSETS = ["m", "n", "l", "r", "w", "y", "s", "sh", "f", "th", "z", "v", "h", "p", "t", "k", "b", "d", "g", "ch"]
CODAS = ["m", "n", "ng", "l", "r", "s", "z", "f", "sh", "t", "k", "d"]
PAUSE = Segment((500, 1500, 2500), 0.02, 0.2)


class Sentence(NamedTuple):
    """Segments in order, and for each: its vowel's place in `VOWELS` (-1: no vowel), stress in [0, 1], seconds."""

    segments: list[Segment]
    vowel: np.ndarray
    stress: np.ndarray
    seconds: np.ndarray


def draw_sentence(rng: np.random.Generator, min_seconds: float, rate: float) -> Sentence:
    """Random syllables, with a pause after each three to seven, for just over `min_seconds`.

    Args:
        rng: source of every choice.
        min_seconds: syllables are added until this length is reached.
        rate: speaking rate; 1 is the rate of the tables, 2 twice as fast.
    """
    names = list(VOWELS)
    rows: list[tuple[Segment, int, float, float]] = [(PAUSE, -1, 0.0, rng.uniform(0.06, 0.16))]
    left = rng.integers(3, 8)
    while sum(row[3] for row in rows) < min_seconds:
        stress = float(rng.random() < 0.4)
        stretch = (1.25 if stress else 0.95) / rate
        vowel = int(rng.integers(len(names)))
        onset = CONSONANTS[ONSETS[rng.integers(len(ONSETS))]] if rng.random() < 0.85 else []
        coda = CONSONANTS[CODAS[rng.integers(len(CODAS))]] if rng.random() < 0.4 else []
        for part, index in ((onset, -1), (VOWELS[names[vowel]], vowel), (coda, -1)):
            # Bursts are an explosion's length whoever speaks: only longer segments follow the rate.
            rows += [
                (seg, index, stress, seg.seconds * (stretch * np.exp(rng.normal(0, 0.15)) if seg.seconds > 0.02 else 1))
                for seg in part
            ]
        left -= 1
        if left == 0:
            rows.append((PAUSE, -1, 0.0, rng.uniform(0.12, 0.32) / rate))
            left = rng.integers(3, 8)
    rows.append((PAUSE, -1, 0.0, rng.uniform(0.08, 0.16)))
    segments, vowels, stresses, seconds = zip(*rows, strict=True)
    return Sentence(list(segments), np.array(vowels), np.array(stresses), np.array(seconds))
