"""Simulated room responses: empty rectangular rooms by the image-source method.

Allen and Berkley: "Image method for efficiently simulating small-room acoustics", JASA 65(4), 1979.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy.signal

from speakerlab.augment.ranges import check_range

SPEED_OF_SOUND = 343.0  # metres a second
OVERSAMPLING = 8  # of the impulses' times, between which they are split linearly: -34 dB of error at the band's edge
# All reflections are positive, which piles up below the room's resonances; the paper removes it as well.
HIGH_PASS_HZ = 50.0
SMALLEST_ROOM, LARGEST_ROOM = np.array([3.0, 3.0, 2.4]), np.array([10.0, 8.0, 4.0])  # metres
WALL_DISTANCE, TALKER_DISTANCE = 0.4, 0.5  # metres, at least
BANK_SEED = 1979


def reflection_for(rt60: float, room: np.ndarray) -> float:
    """The walls' reflection coefficient (of pressure) with which a room's images decay in a reverberation time.

    Sabine's and Eyring's formulas are some 40 % off, since sound that flies along an axis meets few walls and lasts
    longest. Energy that has flown s metres in direction u has met s * sum(|u| / room) walls; see Lehmann and Johansson:
    "Prediction of energy decay in room impulse responses simulated with an image-source model", JASA 124(1), 2008.

    Args:
        rt60: seconds in which the energy falls by 60 dB, as Schroeder integration finds from -5 to -35 dB.
        room: `(3,)` lengths in metres.
    """
    height, turn = np.meshgrid(*[(np.arange(24) + 0.5) / 24] * 2)  # directions, even over an eighth of the sphere
    flat, turn = np.sqrt(1.0 - height**2), turn * np.pi / 2
    walls = flat * np.cos(turn) / room[0] + flat * np.sin(turn) / room[1] + height / room[2]  # a metre
    loss = np.linspace(0.0, 10.0 * room.max(), 400)[:, None, None]  # -2 ln(reflection) times metres
    left = (np.exp(-loss * walls) / walls).mean(axis=(1, 2))  # the energy that is still to come
    start, end = np.interp([5.0, 35.0], -10.0 * np.log10(left / left[0]), loss[:, 0, 0])
    return math.exp(-(end - start) / (SPEED_OF_SOUND * rt60))


def shoebox_response(
    room: np.ndarray, source: np.ndarray, microphone: np.ndarray, reflection: float, taps: int, sample_rate: int
) -> np.ndarray:
    """Pressure at the microphone after an impulse at the source, where the direct path at 1 m has amplitude 1.

    Equation 8 of the paper with one reflection coefficient for all walls. Impulses arrive between samples: they are
    placed on a finer grid and low-pass filtered, not rounded to samples as in the paper.

    Args:
        room, source, microphone: `(3,)` in metres, the latter two inside the room.
        reflection: of the walls, 0 to 1.
        taps: length; sample 0 is when the source sounds.
        sample_rate: in hertz.

    Returns:
        `(taps,)` float64.
    """
    per_metre = sample_rate / SPEED_OF_SOUND  # samples
    reach = taps / per_metre  # metres
    axes = [_images(*axis, reach, reflection) for axis in zip(room, source, microphone, strict=True)]
    (x2, x_gain), (y2, y_gain), (z2, z_gain) = axes
    xy2, xy_gain = np.add.outer(x2, y2), np.multiply.outer(x_gain, y_gain)
    near = xy2 < reach**2
    xy2, xy_gain = xy2[near], xy_gain[near]
    fine = np.zeros(taps * OVERSAMPLING + 1, np.float64)
    for height2, gain in zip(z2, z_gain, strict=True):  # a floor of images at a time, which stays in the cache
        near = xy2 < reach**2 - height2
        distance = np.sqrt(xy2[near] + height2)
        place = distance * (per_metre * OVERSAMPLING)
        index = place.astype(np.int64)
        amplitude = gain * xy_gain[near] / distance
        later = amplitude * (place - index)
        fine[:-1] += np.bincount(index, amplitude - later, len(fine))[: len(fine) - 1]
        fine[1:] += np.bincount(index, later, len(fine))[: len(fine) - 1]
    return OVERSAMPLING * scipy.signal.resample_poly(fine, 1, OVERSAMPLING)[:taps]


def _images(length: float, source: float, microphone: float, reach: float, reflection: float):
    """Along one axis: squared distances `(images,)` of the source's images within reach, and what is left of them."""
    periods = math.ceil(reach / (2.0 * length)) + 1
    shift = np.arange(-periods, periods + 1)
    mirrored = np.array([[0], [1]])
    distance = (1 - 2 * mirrored) * source + 2.0 * length * shift - microphone  # (2, shifts)
    left = float(reflection) ** np.abs(2 * shift - mirrored)
    near = np.abs(distance) < reach
    return distance[near] ** 2, left[near]


class ShoeboxRooms:
    """A bank of simulated rooms with a talker and a microphone in each; one is simulated when it is first asked for.

    Room `i` is the same in every process and every run. Sizes are those of living rooms, offices and classrooms.

    Args:
        count: rooms.
        rt60_seconds: shortest and longest reverberation time; uniform.
        seconds: after which responses are cut, if they have not decayed by 60 dB before.
        sample_rate: in hertz.

    Raises:
        ValueError: without rooms or for a range that is none.
    """

    def __init__(self, count: int, rt60_seconds: Sequence[float], seconds: float, sample_rate: int):
        if count < 1:
            raise ValueError(f"rooms={count} must be at least 1")
        self.count = count
        self.shortest, self.longest = check_range("rt60_seconds", rt60_seconds, 0.05, 2.0)
        self.seconds = seconds
        self.sample_rate = sample_rate
        self.simulated: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.count

    def response(self, index: int) -> np.ndarray:
        """Room `index`'s response `(taps,)` float32, up to its reverberation time."""
        if index not in self.simulated:
            self.simulated[index] = self._simulate(np.random.default_rng([BANK_SEED, index]))
        return self.simulated[index]

    def _simulate(self, generator: np.random.Generator) -> np.ndarray:
        room = generator.uniform(SMALLEST_ROOM, LARGEST_ROOM)
        rt60 = generator.uniform(self.shortest, self.longest)
        source = microphone = room / 2
        while np.linalg.norm(source - microphone) < TALKER_DISTANCE:
            source, microphone = generator.uniform(WALL_DISTANCE, room - WALL_DISTANCE, (2, 3))
        taps = max(round(min(rt60, self.seconds) * self.sample_rate), 1)
        response = shoebox_response(room, source, microphone, reflection_for(rt60, room), taps, self.sample_rate)
        high_pass = scipy.signal.butter(2, HIGH_PASS_HZ, "highpass", fs=self.sample_rate, output="sos")
        return scipy.signal.sosfilt(high_pass, response).astype(np.float32)
