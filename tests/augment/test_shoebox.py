import math

import numpy as np
import pytest

from speakerlab.augment.shoebox import SPEED_OF_SOUND, ShoeboxRooms, reflection_for, shoebox_response

RATE = 16000
ROOM, SOURCE, MICROPHONE = np.array([3.2, 4.1, 2.6]), np.array([1.0, 2.5, 1.2]), np.array([2.4, 1.1, 1.7])


def naive_spectrum(room, source, microphone, reflection, taps, frequencies):
    """Allen and Berkley's sum, image by image, each as its exact delay's phase: no grid and no filter."""
    reach = taps / RATE * SPEED_OF_SOUND
    spectrum = np.zeros(len(frequencies), complex)
    counts = [math.ceil(reach / (2 * length)) + 1 for length in room]
    for mx in range(-counts[0], counts[0] + 1):
        for my in range(-counts[1], counts[1] + 1):
            for mz in range(-counts[2], counts[2] + 1):
                for p in range(8):
                    mirrored = [(p >> axis) & 1 for axis in range(3)]
                    image = [
                        (1 - 2 * q) * s + 2 * m * length
                        for q, s, m, length in zip(mirrored, source, (mx, my, mz), room, strict=True)
                    ]
                    distance = math.dist(image, microphone)
                    if distance < reach:
                        # Each wall by itself: |m - p| times the one at 0, |m| times the other.
                        walls = sum(abs(m - q) + abs(m) for m, q in zip((mx, my, mz), mirrored, strict=True))
                        delay = distance / SPEED_OF_SOUND
                        spectrum += reflection**walls / distance * np.exp(-2j * np.pi * frequencies * delay)
    return spectrum


def test_it_is_the_naive_sum_over_images_up_to_the_edge_of_the_band():
    taps = 700
    fast = shoebox_response(ROOM, SOURCE, MICROPHONE, 0.8, taps, RATE)
    frequencies = np.arange(50, 7000, 50.0)
    naive = naive_spectrum(ROOM, SOURCE, MICROPHONE, 0.8, taps, frequencies)
    measured = np.array([np.sum(fast * np.exp(-2j * np.pi * f * np.arange(taps) / RATE)) for f in frequencies])
    error = np.abs(measured - naive) / np.sqrt(np.mean(np.abs(naive) ** 2))
    assert error[frequencies < 4000].max() < 0.03 and error.max() < 0.08


def test_the_direct_path_has_its_delay_and_its_strength():
    for distance in (0.7, 1.5, 2.03):
        source = np.array([5.0, 5.0, 5.0])
        response = shoebox_response(np.full(3, 10.0), source, source + np.array([distance, 0, 0]), 0.0, 400, RATE)
        delay = distance / SPEED_OF_SOUND * RATE
        time = np.arange(400)
        assert np.sum(response) == pytest.approx(1 / distance, rel=0.02)
        assert np.sum(time * response) / np.sum(response) == pytest.approx(delay, abs=0.05)  # between samples
        assert abs(int(response.argmax()) - delay) <= 0.51


def test_images_never_come_before_the_direct_path():
    response = shoebox_response(ROOM, SOURCE, MICROPHONE, 0.9, 3000, RATE)
    direct = int(np.linalg.norm(SOURCE - MICROPHONE) / SPEED_OF_SOUND * RATE)
    assert np.abs(response[: direct - 8]).max() < 0.01 * np.abs(response).max()


def schroeder_rt60(response):
    """From -5 to -35 dB of the energy that is still to come."""
    left = np.cumsum(response[::-1] ** 2)[::-1]
    db = 10 * np.log10(left / left[0])
    start, end = np.argmax(db < -5), np.argmax(db < -35)
    slope, _ = np.polyfit(np.arange(start, end) / RATE, db[start:end], 1)
    return -60 / slope


@pytest.mark.parametrize("room", [(4.0, 4.0, 3.0), (3.0, 3.0, 2.4), (10.0, 8.0, 2.6), (9.0, 3.0, 4.0)])
@pytest.mark.parametrize("rt60", [0.2, 0.6])
def test_reverberation_time_by_schroeder_integration(room, rt60):
    room = np.array(room)
    source, microphone = room * [0.31, 0.42, 0.55], room * [0.72, 0.37, 0.43]
    taps = round(1.3 * rt60 * RATE)
    response = shoebox_response(room, source, microphone, reflection_for(rt60, room), taps, RATE)
    response = np.diff(response)  # without the pile-up at 0 Hz, which the bank filters away
    assert schroeder_rt60(response) == pytest.approx(rt60, rel=0.12)


def bank(count=20, seconds=1.0):
    return ShoeboxRooms(count, (0.2, 0.5), seconds, RATE)


def test_rooms_differ_and_are_the_same_in_every_process():
    first, second = bank(), bank()
    responses = [first.response(i) for i in (3, 1)]
    for i, response in zip((1, 3), reversed(responses), strict=True):
        np.testing.assert_array_equal(second.response(i), response)  # asked for in another order
    assert first.response(3) is responses[0]  # simulated once
    assert responses[0].dtype == np.float32 and len(responses[0]) != len(responses[1])


def test_the_bank_covers_the_range_of_reverberation_times():
    times = [schroeder_rt60(bank().response(i).astype(float)) for i in range(20)]
    assert 0.15 < min(times) < 0.3 and 0.35 < max(times) < 0.6
    assert max(len(bank(seconds=0.25).response(i)) for i in range(5)) == 4000


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="rooms=0"):
        bank(0)
    with pytest.raises(ValueError, match=r"rt60_seconds=\[0.5, 0.2\]"):
        ShoeboxRooms(5, (0.5, 0.2), 1.0, RATE)
