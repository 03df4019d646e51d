"""Each kind of bad file, planted for real, is found for what it is; good files give their own numbers."""

import os

import numpy as np
import pytest
import soundfile
from trees import write_m4a

from speakerlab.data.prepare.examine import Facts, examine, judge
from speakerlab.data.prepare.sources import Checks

RATE = 16000
CHECKS = Checks(min_seconds=0.5, min_rate=16000, stereo="reject", silence_db=-80.0, max_bad_share=0.1)
OGG = {"ogg": {}, "opus": {"format": "OGG", "subtype": "OPUS"}}


def noise(seconds: float = 1.0, rate: int = RATE, level: float = 0.25) -> np.ndarray:
    return level * np.random.default_rng(1).uniform(-1, 1, round(seconds * rate)).astype(np.float32)


def write(path, samples=None, rate: int = RATE) -> None:
    samples = noise(rate=rate) if samples is None else samples
    suffix = path.suffix[1:]
    if suffix == "m4a":
        write_m4a(path, samples, rate)
    else:
        soundfile.write(path, samples, rate, **OGG.get(suffix, {}))


def reason(path, checks: Checks = CHECKS) -> str:
    facts = examine(path)
    found = judge(facts, checks, facts.sample_rate, facts.channels)
    return found[0] if found else ""


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "m4a", "mp3"])
def test_good_files_pass_with_their_numbers(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    write(path, 0.25 * np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE))
    facts = examine(path)
    assert (facts.samples, facts.sample_rate, facts.channels, facts.problem) == (RATE, RATE, 1, "")
    assert facts.peak_db == pytest.approx(20 * np.log10(0.25), abs=0.01 if suffix in ("wav", "flac") else 2)
    assert reason(path) == ""


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "m4a"])
def test_cut_off(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    write(path)
    os.truncate(path, int(share * path.stat().st_size))
    assert reason(path) == "truncated", examine(path)


def test_a_wav_that_lacks_one_sample(tmp_path):
    """libsndfile opens it as a shorter file."""
    path = tmp_path / "a.wav"
    write(path)
    os.truncate(path, path.stat().st_size - 2)
    assert soundfile.info(path).frames == RATE - 1
    assert examine(path)[-2:] == ("truncated", "31998 of 32000 bytes of samples are there")


def test_a_wav_from_a_pipe_is_whole(tmp_path):
    path = tmp_path / "a.wav"
    write(path)
    content = bytearray(path.read_bytes())
    place = content.find(b"data")
    content[place + 4 : place + 8] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert reason(path) == ""


def test_no_bytes(tmp_path):
    path = tmp_path / "a.flac"
    path.touch()
    assert reason(path) == "zero-byte"


def test_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.flac")
    assert reason(tmp_path / "a.flac") == "unreadable"


def test_a_header_alone(tmp_path):
    path = tmp_path / "a.wav"
    write(path, np.zeros(0, np.float32))
    assert reason(path) == "empty"


@pytest.mark.parametrize("content", ["wav", "flac", "ogg", "m4a", "mp3"])
@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "m4a", "mp3"])
def test_content_under_another_name(tmp_path, content, name):
    write(tmp_path / f"a.{content}")
    (tmp_path / f"a.{content}").rename(tmp_path / f"b.{name}")
    assert reason(tmp_path / f"b.{name}") == ("" if content == name else "wrong extension")


@pytest.mark.parametrize("suffix", ["wav", "flac", "m4a", "opus"])
def test_a_text_is_no_audio(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text("<html>not found</html>\n" * 100)
    assert reason(path) == "no audio"


@pytest.mark.parametrize("where", [slice(None), slice(500, 501)])
def test_nan(tmp_path, where):
    samples = noise()
    samples[where] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    assert reason(tmp_path / "a.wav") == "NaN"


@pytest.mark.parametrize("level, expected", [(0.0, "silent"), (1e-5, "silent"), (2e-4, "")])
def test_silence(tmp_path, level, expected):
    """Also under a constant offset, which is no sound."""
    soundfile.write(tmp_path / "a.wav", 0.3 + noise(level=level), RATE, subtype="FLOAT")
    assert reason(tmp_path / "a.wav") == expected


@pytest.mark.parametrize("rate, low", [(8000, True), (11025, True), (16000, False), (44100, False)])
def test_rates(tmp_path, rate, low):
    write(tmp_path / "a.wav", noise(rate=rate), rate)
    assert reason(tmp_path / "a.wav") == ("low sample rate" if low else "")
    assert examine(tmp_path / "a.wav")[:2] == (rate, rate)  # one second at its own rate


def test_two_channels(tmp_path):
    samples = noise()
    write(tmp_path / "a.wav", np.stack([samples, -0.5 * samples], axis=1), 44100)
    facts = examine(tmp_path / "a.wav")
    assert (facts.channels, facts.sample_rate) == (2, 44100)
    assert reason(tmp_path / "a.wav") == "stereo"
    assert reason(tmp_path / "a.wav", Checks(0.1, 16000, "mix", -80.0, 0.1)) == ""
    assert facts.peak_db == pytest.approx(20 * np.log10(0.25 / 4), abs=0.1)  # of the average


def test_length(tmp_path):
    write(tmp_path / "a.wav", noise(0.499))
    write(tmp_path / "b.wav", noise(0.5))
    assert (reason(tmp_path / "a.wav"), reason(tmp_path / "b.wav")) == ("too short", "")


def test_unreadable(tmp_path):
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "folder.wav").mkdir()
    for name in ("dangling.wav", "folder.wav", "gone.wav"):
        assert reason(tmp_path / name) == "unreadable", name


def test_the_origin_is_what_is_judged():
    """A conversion at 16 kHz in mono does not hide that its original was neither."""
    facts = Facts(16000, 16000, 1, -6.0)
    assert judge(facts, CHECKS, 16000, 1) is None
    assert judge(facts, CHECKS, 8000, 1)[0] == "low sample rate"
    assert judge(facts, CHECKS, 44100, 2)[0] == "stereo"
