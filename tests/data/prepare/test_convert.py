"""Conversions against the originals, bit by bit where the format can."""

import numpy as np
import pytest
import soundfile
from trees import write_m4a

from speakerlab import InputError
from speakerlab.data.audio import probe, read_audio
from speakerlab.data.prepare.convert import convert


def tone(rate: int, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_16_bit_samples_keep_every_bit(tmp_path, audio_format):
    """Full scale too, which libsndfile's own scaling would change."""
    samples = np.random.default_rng(1).integers(-32768, 32768, 20000).astype(np.int16)
    samples[:2] = -32768, 32767
    source = tmp_path / ("a.flac" if audio_format == "wav" else "a.wav")
    soundfile.write(source, samples, 16000, subtype="PCM_16")
    facts = convert(source, tmp_path / f"out/b.{audio_format}", audio_format)
    assert (facts.samples, facts.sample_rate, facts.channels, facts.problem) == (20000, 16000, 1, "")
    written, rate = soundfile.read(tmp_path / f"out/b.{audio_format}", dtype="int16")
    assert rate == 16000
    np.testing.assert_array_equal(written, samples)


def test_opus_is_long_and_near(tmp_path):
    """Longer than one block of writing; the same number of samples, no shift."""
    samples = np.tile(tone(16000), 25) * np.linspace(0.2, 1, 400000, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    convert(tmp_path / "a.wav", tmp_path / "b.opus", "opus")
    assert soundfile.info(tmp_path / "b.opus").subtype == "OPUS"
    written = read_audio(tmp_path / "b.opus")
    assert len(written) == 400000
    assert np.corrcoef(written[1000:], samples[1000:])[0, 1] > 0.99
    assert (tmp_path / "b.opus").stat().st_size < (tmp_path / "a.wav").stat().st_size / 4


def test_m4a(tmp_path):
    write_m4a(tmp_path / "a.m4a", tone(16000))
    facts = convert(tmp_path / "a.m4a", tmp_path / "b.flac", "flac")
    np.testing.assert_allclose(read_audio(tmp_path / "b.flac"), read_audio(tmp_path / "a.m4a"), atol=1 / 65536)
    assert facts[:3] == (16000, 16000, 1)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_rates_and_channels(tmp_path, rate):
    stereo = np.stack([tone(rate), np.zeros(rate, np.float32)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, rate)
    facts = convert(tmp_path / "a.wav", tmp_path / "b.flac", "flac")
    assert facts[:3] == (16000, rate, 2)  # of the original, but for the length
    assert probe(tmp_path / "b.flac") == (16000, 16000, 1)
    np.testing.assert_allclose(read_audio(tmp_path / "b.flac")[500:-500], tone(16000)[500:-500] / 2, atol=0.002)


@pytest.mark.parametrize("audio_format", ["flac", "wav", "opus"])
def test_what_is_wanted_already_stays(tmp_path, audio_format):
    soundfile.write(tmp_path / "a.wav", tone(16000), 16000)
    convert(tmp_path / "a.wav", tmp_path / f"b.{audio_format}", audio_format)
    source = tmp_path / ("a.wav" if audio_format == "wav" else f"b.{audio_format}")
    facts = convert(source, tmp_path / f"c.{audio_format}", audio_format)
    assert facts == (0, 16000, 1, -999.0, "", "")
    assert not (tmp_path / f"c.{audio_format}").exists()


def test_a_bad_source_writes_nothing(tmp_path):
    (tmp_path / "a.m4a").write_bytes(b"")
    assert convert(tmp_path / "a.m4a", tmp_path / "b.flac", "flac").problem == "zero-byte"
    assert [path.name for path in tmp_path.iterdir()] == ["a.m4a"]


def test_a_target_that_cannot_be_written(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(16000), 16000)
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match=r"out/b\.flac: can't be written"):
        convert(tmp_path / "a.wav", tmp_path / "out/b.flac", "flac")
