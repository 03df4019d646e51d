"""What is packed comes back."""

import numpy as np
import pytest
import soundfile
from shard_files import RATE, write_noise

from speakerlab.data.audio import AudioBytes, AudioError, read_audio
from speakerlab.data.shards.encoding import encode


def decoded(encoded) -> np.ndarray:
    audio = AudioBytes(f"x.{encoded.suffix}", encoded.data)
    return read_audio(audio, encoded.first_sample, encoded.samples, encoded.sample_rate)


def tone(path, seconds: float, rate: int, channels: int = 1) -> None:
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)


@pytest.mark.parametrize("audio_format", ["flac", "copy"])
def test_sixteen_bits_come_back_to_the_bit(tmp_path, audio_format):
    samples = write_noise(tmp_path / "a.wav", 5)
    full = np.array([-32768, 32767, 0, 1, -1] * 200, np.int16)
    soundfile.write(tmp_path / "full.wav", full, RATE)
    for name, first, count in (("a.wav", 0, samples), ("a.wav", 1000, 2345), ("full.wav", 0, 1000)):
        encoded = encode(tmp_path / name, first, count, RATE, audio_format)
        expected, _ = soundfile.read(tmp_path / name, dtype="float32", start=first, frames=count)
        np.testing.assert_array_equal(decoded(encoded), expected)
        assert (encoded.samples, encoded.sample_rate) == (count, RATE)
        if audio_format == "copy":
            assert encoded.data == (tmp_path / name).read_bytes() and encoded.first_sample == first
        else:
            assert encoded.first_sample == 0 and soundfile.info(tmp_path / name).format == "WAV"


@pytest.mark.parametrize("rate, stored", [(8000, 8000), (16000, 16000), (22050, 24000), (44100, 48000), (96000, 48000)])
def test_opus_keeps_time_and_pitch(tmp_path, rate, stored):
    tone(tmp_path / "a.wav", 1.37, rate)
    encoded = encode(tmp_path / "a.wav", 0, round(1.37 * rate), rate, "opus")
    assert encoded.sample_rate == stored and encoded.samples == pytest.approx(1.37 * stored, abs=1)
    wave = decoded(encoded)
    assert len(wave) == encoded.samples
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(wave)) / stored)
    inside = slice(stored // 10, -stored // 10)
    error = wave[inside] - expected[inside]
    assert 10 * np.log10(np.mean(expected[inside] ** 2) / np.mean(error**2)) > 15, "shifted or another tone"
    assert len(encoded.data) < 1.5 * 1.37 * 32000 / 8


@pytest.mark.parametrize("audio_format", ["flac", "opus", "copy"])
def test_equal_runs_give_equal_bytes(tmp_path, audio_format):
    samples = write_noise(tmp_path / "a.wav", 0)
    first, second = (encode(tmp_path / "a.wav", 0, samples, RATE, audio_format) for _ in range(2))
    assert first == second


def test_channels_are_averaged(tmp_path):
    tone(tmp_path / "a.wav", 0.5, RATE, channels=2)
    encoded = encode(tmp_path / "a.wav", 0, 8000, RATE, "flac")
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_array_equal(decoded(encoded), expected[:, 0])


@pytest.mark.parametrize("audio_format", ["flac", "opus", "copy"])
def test_what_cannot_be_read_is_said(tmp_path, audio_format):
    samples = write_noise(tmp_path / "a.wav", 0)
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    for name, count in (("nowhere.wav", samples), ("text.wav", samples), ("empty.wav", samples), ("a.wav", 10**6)):
        with pytest.raises(AudioError, match=name):
            encode(tmp_path / name, 0, count, RATE, audio_format)
