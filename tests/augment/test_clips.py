import numpy as np
import pytest

from speakerlab.augment.clips import Clip, check_clips, read_window


class Recorder:
    """A reader of a ramp that keeps what it was asked for."""

    def __init__(self, length):
        self.audio = np.arange(length, dtype=np.float32)
        self.asked = []

    def __call__(self, path, first, count):
        self.asked.append((first, count))
        return self.audio[first : first + count]


def test_long_clips_give_a_window_and_no_more_is_read():
    read = Recorder(1000)
    window = read_window(Clip("a", 1000, 16000), read, 0.5, 100, 16000)
    assert read.asked == [(450, 100)]
    np.testing.assert_array_equal(window, np.arange(450, 550))


def test_every_window_of_a_long_clip_can_come_up_equally_often():
    read = Recorder(12)
    for position in (np.arange(300) + 0.5) / 300:
        read_window(Clip("a", 12, 16000), read, position, 10, 16000)
    firsts, counts = np.unique([first for first, _ in read.asked], return_counts=True)
    assert firsts.tolist() == [0, 1, 2] and counts.tolist() == [100, 100, 100]


def test_short_clips_are_tiled_and_every_sample_comes_first_equally_often():
    starts = []
    for position in (np.arange(700) + 0.5) / 700:
        window = read_window(Clip("a", 7, 16000), Recorder(7), position, 24, 16000)
        np.testing.assert_array_equal(window, (window[0] + np.arange(24)) % 7)
        starts.append(int(window[0]))
    assert np.bincount(starts).tolist() == [100] * 7


def test_offsets_and_counts_are_at_the_rate_of_the_file():
    read = Recorder(44100)
    window = read_window(Clip("a", 44100, 44100), read, 0.999999, 8001, 16000)
    assert read.asked == [(44100 - 22053, 22053)]  # 8001 samples at 16 kHz are 22052.8 at 44.1 kHz
    assert window.shape == (8001,) and window.dtype == np.float32


@pytest.mark.parametrize("extra", [-1, 1])
def test_a_resampler_may_be_off_by_one(extra):
    window = read_window(Clip("a", 400, 32000), lambda *_: np.ones(100 + extra, np.float32), 0.3, 100, 16000)
    np.testing.assert_array_equal(window, np.ones(100))


def test_a_file_that_decodes_to_nothing_is_named():
    with pytest.raises(ValueError, match="broken.wav"):
        read_window(Clip("broken.wav", 400, 16000), lambda *_: np.zeros(0, np.float32), 0.3, 100, 16000)


def test_folders_without_audio_and_empty_files_are_refused():
    with pytest.raises(ValueError, match="folder music holds no audio"):
        check_clips("music", [])
    with pytest.raises(ValueError, match="b.wav: 0 samples"):
        check_clips("music", [("a.wav", 5, 16000), ("b.wav", 0, 16000)])
