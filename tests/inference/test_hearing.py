"""What is heard, what is said about it, and what no header makes this machine do."""

import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from mp4_files import crafted

from speakerlab import InputError
from speakerlab.data.audio import AudioBytes, AudioError, read_audio
from speakerlab.inference import hearing
from speakerlab.inference.hearing import check_header, hear

RATE = 16000


def voice(seconds: float = 1.0, rate: int = RATE, level: float = 0.1) -> np.ndarray:
    generator = np.random.default_rng(1)
    time = np.arange(round(seconds * rate)) / rate
    return (level * (np.sin(2 * np.pi * 150 * time) + 0.2 * generator.standard_normal(len(time)))).astype(np.float32)


def test_a_file_is_what_read_audio_gives(tmp_path):
    soundfile.write(tmp_path / "a.wav", voice(), RATE)
    heard = hear(tmp_path / "a.wav", None, RATE)
    np.testing.assert_array_equal(heard.waveform, read_audio(tmp_path / "a.wav"))
    assert heard.notes == () and heard.seconds == 1.0 and heard.waveform.dtype == np.float32
    same = hear(AudioBytes("a.wav", (tmp_path / "a.wav").read_bytes()), None, RATE)
    np.testing.assert_array_equal(same.waveform, heard.waveform)


@pytest.mark.parametrize("rate, lost", [(8000, ", which leaves nothing above 4,000 Hz"), (44100, ""), (48000, "")])
def test_other_rates_and_channels_are_said(tmp_path, rate, lost):
    both = np.stack([voice(rate=rate), -0.5 * voice(rate=rate)], axis=1)
    soundfile.write(tmp_path / "a.flac", both, rate)
    heard = hear(str(tmp_path / "a.flac"), None, RATE)
    assert heard.notes == ("2 channels were averaged", f"{rate:,} Hz were resampled to 16,000 Hz{lost}")
    assert heard.seconds == pytest.approx(1.0, abs=1e-3)
    expected = soxr.resample(0.25 * voice(rate=rate), rate, RATE)
    np.testing.assert_allclose(heard.waveform, expected, atol=1e-4)


@pytest.mark.parametrize(
    "array",
    [
        voice(),
        voice().astype(np.float64),
        np.rint(voice() * 32768).astype(np.int16),
        np.rint(voice().astype(np.float64) * 2**31).astype(np.int32),
        voice()[None],
        voice()[:, None],
        np.stack([voice(), voice()]),
        np.stack([voice(), voice()], axis=1),
        torch.from_numpy(voice()),
        torch.from_numpy(voice())[None].requires_grad_(),
        voice().tolist(),
    ],
    ids=lambda array: f"{type(array).__name__}-{getattr(array, 'dtype', '')}-{tuple(getattr(array, 'shape', ()))}",
)
def test_arrays_of_every_shape_are_the_same_recording(array):
    heard = hear(array, RATE, RATE)
    np.testing.assert_allclose(heard.waveform, voice(), atol=1 / 32768)
    assert heard.waveform.shape == (RATE,) and heard.waveform.dtype == np.float32


def test_an_array_at_another_rate():
    heard = hear(voice(rate=8000), 8000, RATE)
    np.testing.assert_array_equal(heard.waveform, soxr.resample(voice(rate=8000), 8000, RATE))


@pytest.mark.parametrize(
    "array, rate, message",
    [
        (voice(), None, "give sample_rate="),
        (np.zeros((2, 3, 4), np.float32), RATE, r"shape \(2, 3, 4\)"),
        (np.zeros(0, np.float32), RATE, "shape"),
        (voice().astype(np.complex64), RATE, "complex64"),
        (np.zeros(RATE, np.int64), RATE, "int64"),
        (["a", "b"], RATE, "is no audio"),
        ([[0.1], [0.1, 0.2]], RATE, "differ in length"),
        (np.full(RATE, np.nan, np.float32), RATE, "NaN"),
        (1000 * voice(), RATE, r"must lie in \[-1, 1\]"),
        (np.zeros(RATE, np.float32), RATE, "digital silence"),
        (np.full(RATE, 0.25, np.float32), RATE, "digital silence"),
        (voice(0.05), RATE, "0.050 s long; at least 0.1 s"),
        (voice(), 10, "states 10 Hz"),
        (voice(), float("nan"), "sample_rate=nan must be a number of hertz"),
        (voice(), float("inf"), "sample_rate=inf must be"),
        (voice(), "16k", "sample_rate='16k' must be"),
        (np.zeros((100, RATE), np.float32), RATE, "100 channels"),
    ],
)
def test_arrays_that_are_no_recordings(array, rate, message):
    with pytest.raises(InputError, match=message) as caught:
        hear(array, rate, RATE)
    assert "\n" not in str(caught.value)


def test_a_file_says_its_own_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", voice(), RATE)
    with pytest.raises(InputError, match="says its own sample rate"):
        hear(tmp_path / "a.wav", RATE, RATE)


@pytest.mark.parametrize(
    "samples, note",
    [
        (voice(0.25), "0.25 s are too short to tell a speaker by"),
        (voice(level=0.0003), "almost silent, 70 dB below full scale"),
        (np.clip(voice(level=2.0), -1, 1), r"clipped: \d\d.\d % of the samples are at full scale"),
    ],
)
def test_what_makes_an_embedding_a_bad_one_is_said(samples, note):
    (said,) = hear(samples, RATE, RATE).notes
    assert re.fullmatch(note, said), said


def test_loud_speech_is_not_called_clipped():
    samples = voice()
    assert hear(samples / np.abs(samples).max(), RATE, RATE).notes == ()


def test_what_is_large_is_decoded_in_blocks(tmp_path, monkeypatch):
    """The same samples, whether or not it is resampled."""
    both = np.stack([voice(3.0, 44100), 0.5 * voice(3.0, 44100)], axis=1)
    soundfile.write(tmp_path / "a.flac", both, 44100)
    for rate in (44100, RATE):
        whole = hear(tmp_path / "a.flac", None, rate)
        with monkeypatch.context() as patch:
            patch.setattr(hearing, "BLOCK", 10_001)
            blocks = hear(tmp_path / "a.flac", None, rate)
        assert len(blocks.waveform) == len(whole.waveform)
        np.testing.assert_allclose(blocks.waveform, whole.waveform, atol=2e-6)


def test_unusable_files_say_why(tmp_path):
    soundfile.write(tmp_path / "short.wav", voice(0.05), RATE)
    soundfile.write(tmp_path / "slow.wav", voice(1.0, 1000), 1000)
    soundfile.write(tmp_path / "silent.flac", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no audio\n" * 100)
    (tmp_path / "empty.wav").touch()
    os.mkfifo(tmp_path / "pipe.wav")
    for name, reason in {
        "short.wav": "is 0.050 s long; at least 0.1 s are needed",
        "slow.wav": "states 1,000 Hz",
        "silent.flac": "digital silence",
        "nan.wav": "NaN or infinite",
        "text.wav": "not readable as audio",
        "empty.wav": "is empty",
        "pipe.wav": "is no regular file",
        "missing.wav": "can't be opened",
        ".": "is a folder",
    }.items():
        with pytest.raises(AudioError, match=reason) as caught:
            hear(tmp_path / name, None, RATE)
        assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def wav_header(samples: int, rate: int = RATE, channels: int = 1, bits: int = 16) -> bytes:
    size, frame = samples * channels * bits // 8, channels * bits // 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame % 2**32, frame, bits)
    return b"RIFF" + struct.pack("<I", min(36 + size, 2**32 - 1)) + b"WAVE" + form + struct.pack("<4sI", b"data", size)


def flac_header(samples: int, rate: int = RATE, channels: int = 1) -> bytes:
    """A FLAC file that states so many samples and holds none."""
    facts = (rate << 44) | ((channels - 1) << 41) | (15 << 36) | samples
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + facts.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + bytes([0x80, 0, 0, 34]) + info


def write_crafted(folder: Path) -> None:
    (folder / "declared.wav").write_bytes(wav_header(2**30) + voice().tobytes())
    for name, content in crafted().items():
        (folder / f"{name.replace(' ', '_')}.m4a").write_bytes(content)
    (folder / "channels.wav").write_bytes(wav_header(2**15, channels=1000) + bytes(2000 * 2**10))
    (folder / "rate.wav").write_bytes(wav_header(2**20, rate=2**31) + bytes(2**21))
    (folder / "declared.flac").write_bytes(flac_header(2**36 - 1))
    (folder / "values.flac").write_bytes(flac_header(3500 * 655_350, 655_350, 8))
    (folder / "short_of.flac").write_bytes(flac_header(3500 * RATE))
    soundfile.write(folder / "bomb.flac", np.zeros(2 * 3600 * 8000, np.int16), 8000)  # 100 MB in 40 kB


CHECK = """
import resource, sys, time
from pathlib import Path
from speakerlab import InputError
from speakerlab.inference.hearing import hear
import av, soxr  # what is loaded later is not what is measured
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
usage = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (usage + 400_000_000,) * 2)
for path in sorted(Path(sys.argv[1]).iterdir()):
    began = time.monotonic()
    try:
        hear(path, None, 16000)
        print(path.name, "heard")
    except InputError as error:
        print(path.name, str(error).count("\\n"), round(time.monotonic() - began, 1), str(error).split(": ", 1)[1])
print("MB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3)
"""


def test_headers_that_lie_cost_neither_memory_nor_time(tmp_path):
    write_crafted(tmp_path)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
        timeout=120,
    )
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert float(lines.pop("MB")) < 300, done.stdout
    assert lines.pop("declared.wav") == "heard"  # 2 GB are stated and 64 kB are there, as in streams: these are read
    assert len(lines) == 6 + len(crafted()) and all(line.startswith("0 ") for line in lines.values()), done.stdout
    assert "2.0 hours; at most 1" in lines["bomb.flac"] and "hours" in lines["declared.flac"]
    assert "18.3 billion samples over its channels" in lines["values.flac"]
    assert "1000 channels" in lines["channels.wav"] or "not readable" in lines["channels.wav"]
    assert time.monotonic() - began < 60


def test_files_of_gigabytes_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(hearing, "MOST_BYTES", 1000)
    soundfile.write(tmp_path / "a.wav", voice(), RATE)
    with pytest.raises(AudioError, match="at most 0 MB are read"):
        check_header(tmp_path / "a.wav")
