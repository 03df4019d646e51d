"""Samples against what was written, and SciPy's resampler; messages as a stranger reads them."""

import math
import os
import pickle
import warnings
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly
from torch.utils.data import DataLoader, Dataset

from speakerlab.data.audio import AudioBytes, AudioError, AudioInfo, played_rate, probe, read_audio

STEP = 1 / 32768  # of 16-bit PCM


@pytest.fixture
def sweep() -> np.ndarray:
    """3 s from 50 Hz to 3 kHz at 16 kHz: no two stretches are alike, so that a shift by one sample shows."""
    frequency = np.linspace(50, 3000, 48000)
    return (0.4 * np.sin(2 * np.pi * np.cumsum(frequency) / 16000)).astype(np.float32)


def write_aac(path, samples: np.ndarray, container: str | None = None, title: str = "") -> None:
    """`(samples,)` or `(channels, samples)` at 16 kHz."""
    samples = np.atleast_2d(samples)
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w", format=container) as output:
        output.metadata["title"] = title
        stream = output.add_stream("aac", rate=16000, layout=layout, bit_rate=128000)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = 16000, 0
        for part in (frame, None):
            output.mux(stream.encode(part))


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
def test_lossless_files_come_back(tmp_path, sweep, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sweep, 16000, subtype="PCM_16")
    assert probe(path) == AudioInfo(16000, 48000, 1)
    samples = read_audio(path)
    assert samples.dtype == np.float32 and samples.shape == (48000,)
    np.testing.assert_allclose(samples, sweep, atol=STEP)
    np.testing.assert_array_equal(read_audio(path, 12345, 1000), samples[12345:13345])
    np.testing.assert_array_equal(read_audio(path, 47000), samples[47000:])


OPUS = {"format": "OGG", "subtype": "OPUS"}


@pytest.mark.parametrize("suffix, options", [("ogg", {}), ("opus", OPUS), ("mp3", {})])
def test_lossy_files_are_near(tmp_path, sweep, suffix, options):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sweep, 16000, **options)
    assert probe(path) == AudioInfo(16000, 48000, 1)
    part = read_audio(path, 20001, 16000)
    assert part.shape == (16000,)
    assert np.corrcoef(part, sweep[20001:36001])[0, 1] > 0.99
    np.testing.assert_allclose(part, read_audio(path)[20001:36001], atol=0.01)  # MP3 without preroll: off by 0.4


def test_m4a_is_aligned_and_seeks(tmp_path, sweep):
    path = tmp_path / "a.m4a"
    write_aac(path, sweep)
    assert probe(path) == AudioInfo(16000, 48000, 1)
    samples = read_audio(path)
    assert samples.dtype == np.float32 and samples.shape == (48000,)
    # The encoder's 1024 priming samples must be gone: only shift 0 fits.
    fits = {lag: np.corrcoef(samples[4000:40000], sweep[4000 + lag : 40000 + lag])[0, 1] for lag in range(-3, 4)}
    assert max(fits, key=fits.get) == 0 and fits[0] > 0.999
    for first, count in [(0, 100), (1023, 2), (20001, 8000), (47900, 100)]:
        np.testing.assert_allclose(read_audio(path, first, count), samples[first : first + count], atol=1e-6)


def test_raw_aac_is_counted_by_packets(tmp_path, sweep):
    path = tmp_path / "a.aac"
    write_aac(path, sweep, "adts")
    info = probe(path)
    assert info.samples == math.ceil((48000 + 1024) / 1024) * 1024  # priming and padding stay: nothing says how much
    samples = read_audio(path)
    assert np.corrcoef(samples[5024:41024], sweep[4000:40000])[0, 1] > 0.999
    np.testing.assert_array_equal(read_audio(path, 20001, 8000), samples[20001:28001])


@pytest.mark.parametrize("kind", ["wav", "m4a"])
def test_channels_are_averaged(tmp_path, sweep, kind):
    path = tmp_path / f"a.{kind}"
    both = np.stack([sweep, -0.5 * sweep])  # (channels, samples)
    if kind == "wav":
        soundfile.write(path, both.T, 16000, subtype="FLOAT")
    else:
        write_aac(path, both)
    assert probe(path).channels == 2
    tolerance = 1e-6 if kind == "wav" else 0.02
    np.testing.assert_allclose(read_audio(path)[4000:40000], 0.25 * sweep[4000:40000], atol=tolerance)


def test_other_rates_are_resampled_and_counted_in_the_files_own(tmp_path):
    path = tmp_path / "a.wav"
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    soundfile.write(path, tone, 8000, subtype="FLOAT")
    samples = read_audio(path, 2000, 4000)
    assert samples.shape == (8000,) and samples.dtype == np.float32
    reference = resample_poly(tone[2000:6000], 2, 1)
    np.testing.assert_allclose(samples[500:-500], reference[500:-500], atol=2e-3)
    np.testing.assert_allclose(read_audio(path, sample_rate=8000), tone, atol=1e-6)


def test_overshoot_is_clipped_and_another_scale_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([0.5, 1.2, -1.1], np.float32), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path), [0.5, 1.0, -1.0])
    soundfile.write(path, np.array([0.5, 12000.0], np.float32), 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: samples reach 12000, but float audio must lie in \[-1, 1\]"):
        read_audio(path)


def cut(source, target) -> None:
    data = source.read_bytes()
    target.write_bytes(data[: len(data) // 2])


def test_truncated_flac(tmp_path, sweep):
    soundfile.write(tmp_path / "whole.flac", sweep, 16000)
    cut(tmp_path / "whole.flac", tmp_path / "a.flac")
    assert probe(tmp_path / "a.flac").samples == 48000  # the header can't tell
    with pytest.raises(AudioError, match=r"a\.flac: (damaged or )?cut off"):
        read_audio(tmp_path / "a.flac")
    start = read_audio(tmp_path / "a.flac", 0, 4000)  # what is there can still be read
    np.testing.assert_allclose(start, sweep[:4000], atol=STEP)


def test_truncated_mp3(tmp_path, sweep, capfd):
    """Its decoder ends without an error."""
    soundfile.write(tmp_path / "whole.mp3", sweep, 16000)
    cut(tmp_path / "whole.mp3", tmp_path / "a.mp3")
    with pytest.raises(AudioError, match=r"a\.mp3: cut off, \d{5} of 48000 samples from sample 0 could be read"):
        read_audio(tmp_path / "a.mp3")


def test_truncated_aac(tmp_path, sweep):
    write_aac(tmp_path / "whole.m4a", sweep)
    cut(tmp_path / "whole.m4a", tmp_path / "a.m4a")
    with pytest.raises(AudioError, match=r"a\.m4a: not readable as audio"):
        probe(tmp_path / "a.m4a")
    with pytest.raises(AudioError, match=r"a\.m4a: not readable as audio"):
        read_audio(tmp_path / "a.m4a")


def test_m4a_whose_last_packets_are_gone(tmp_path, sweep):
    """With the index in front (as for the web), a cut file opens and only the decoder notices."""
    write = {"movflags": "faststart"}
    with av.open(str(tmp_path / "whole.m4a"), "w", options=write) as output:
        stream = output.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sweep[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        for part in (frame, None):
            output.mux(stream.encode(part))
    cut(tmp_path / "whole.m4a", tmp_path / "a.m4a")
    assert probe(tmp_path / "a.m4a").samples == 48000
    with pytest.raises(AudioError, match=r"a\.m4a: (damaged or )?cut off"):
        read_audio(tmp_path / "a.m4a")
    with pytest.raises(AudioError, match=r"a\.m4a: cut off, 0 of 8000 samples from sample 40000 could be read"):
        read_audio(tmp_path / "a.m4a", 40000, 8000)


def test_unusable_files_say_why(tmp_path):
    (tmp_path / "zero.wav").touch()
    (tmp_path / "zero.m4a").touch()
    (tmp_path / "text.wav").write_text("this is no audio\n")
    (tmp_path / "text.m4a").write_text("this is no audio\n")
    (tmp_path / "folder.wav").mkdir()
    reasons = {
        "zero.wav": r"is empty \(0 bytes\)",
        "zero.m4a": r"is empty \(0 bytes\)",
        "text.wav": r"not readable as audio \(Format not recognised\)",
        "text.m4a": r"not readable as audio \(Format not recognised\)",
        "folder.wav": r"is a folder, not an audio file",
        "gone.wav": r"can't be opened \(No such file or directory\)",
    }
    for name, reason in reasons.items():
        for function in (probe, read_audio):
            with pytest.raises(AudioError, match=f"^{tmp_path}/{name}: {reason}[^\n]*$"):
                function(tmp_path / name)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sample_rate", [16000, 8000])
def test_samples_that_are_no_numbers_are_refused(tmp_path, sweep, value, sample_rate):
    sweep[777] = value
    soundfile.write(tmp_path / "a.wav", sweep, 16000, subtype="FLOAT")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AudioError, match=r"a\.wav: holds NaN or infinite samples"):
            read_audio(tmp_path / "a.wav", sample_rate=sample_rate)


def test_video_without_sound(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        for part in (frame, None):
            output.mux(stream.encode(part))
    with pytest.raises(AudioError, match=r"a\.mp4: holds no audio stream"):
        probe(tmp_path / "a.mp4")


def test_positions_out_of_range(tmp_path, sweep):
    soundfile.write(tmp_path / "a.wav", sweep, 16000)
    with pytest.raises(AudioError, match="has 48000 samples; samples 47000 to 49000 were asked for"):
        read_audio(tmp_path / "a.wav", 47000, 2000)
    with pytest.raises(AudioError, match="has 48000 samples; samples 48000 to 48000"):
        read_audio(tmp_path / "a.wav", 48000)
    for first, count in [(-1, None), (0, 0)]:
        with pytest.raises(ValueError, match=f"first={first} .* count={count}"):
            read_audio(tmp_path / "a.wav", first, count)


def test_the_error_survives_a_worker_process():
    error = pickle.loads(pickle.dumps(AudioError(Path("a: b/c.wav"), "broken: cut off")))
    assert isinstance(error, AudioError) and str(error) == "a: b/c.wav: broken: cut off"
    assert (error.path, error.reason) == ("a: b/c.wav", "broken: cut off")


class Broken(Dataset):
    def __getitem__(self, index: int):
        return read_audio("/nowhere/a.wav")


def test_a_loaders_worker_raises_it_as_what_it_is():
    with pytest.raises(AudioError, match=r"\n.*AudioError: /nowhere/a.wav: can't be opened \(No such file"):
        next(iter(DataLoader(Broken(), sampler=[0], num_workers=1)))


def message(path, first, count) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(path, first, count)
    return str(caught.value).removeprefix(f"{path}: ")


def test_straight_reads_of_wav_have_libsndfiles_samples_and_complaints(tmp_path, sweep):
    """libsndfile goes by the content, this program by the name: `.bin` is not read straight."""
    soundfile.write(tmp_path / "whole.wav", sweep, 16000)
    content = (tmp_path / "whole.wav").read_bytes()
    kinds = {"whole": content, "cut": content[:-1000], "header": content[:44], "half a header": content[:30]}
    for kind, kept in kinds.items():
        for suffix in ("wav", "bin"):
            (tmp_path / f"{kind}.{suffix}").write_bytes(kept)
        plain, full = tmp_path / f"{kind}.wav", tmp_path / f"{kind}.bin"
        for first, count in [(0, 1000), (0, None), (40000, 8000), (40000, None), (47999, 2), (48000, 1)]:
            try:
                expected = read_audio(full, first, count)
            except AudioError:
                assert message(plain, first, count) == message(full, first, count)
            else:
                np.testing.assert_array_equal(read_audio(plain, first, count), expected)


@pytest.mark.parametrize("speed", [0.9, 1.1, 1.25])
def test_speed_changes_tempo_and_pitch(tmp_path, speed):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 400 * np.arange(32000) / 16000), 16000)
    played = read_audio(path, 0, 16000, speed=speed)
    assert len(played) == round(16000 / speed)
    time = np.arange(len(played)) / 16000
    expected = 0.5 * np.sin(2 * np.pi * 400 * speed * time)
    np.testing.assert_allclose(played[200:-200], expected[200:-200], atol=2e-3)


@pytest.mark.parametrize("rate, speed, expected", [(16000, 1.1, 17600), (44100, 0.9, 39690), (8000, 1.0, 8000)])
def test_a_played_rate_is_whole(rate, speed, expected):
    assert played_rate(rate, speed) == expected and isinstance(played_rate(rate, speed), int)


def test_a_resampler_that_overshoots_is_clipped(tmp_path):
    square = np.where(np.arange(8000) // 40 % 2, 32767, -32768).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", square, 8000)
    samples = read_audio(tmp_path / "a.wav")
    assert samples.max() == 1.0 and samples.min() == -1.0


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "m4a"])
def test_files_in_memory_read_as_on_the_disk(tmp_path, sweep, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "m4a":
        write_aac(path, sweep)
    else:
        soundfile.write(path, sweep, 16000, **(OPUS if suffix == "opus" else {}))
    audio = AudioBytes(f"shard.tar/a.{suffix}", path.read_bytes())
    assert probe(audio) == probe(path)
    np.testing.assert_array_equal(read_audio(audio, 20001, 16000, speed=1.1), read_audio(path, 20001, 16000, speed=1.1))
    for data in (b"", b"rubbish", audio.data[: len(audio.data) // 2]):
        with pytest.raises(AudioError, match=rf"^shard.tar/a.{suffix}: "):
            read_audio(AudioBytes(f"shard.tar/a.{suffix}", data), 30000, 16000)


def write_container(path: Path, codec: str, rate: int, samples: np.ndarray) -> None:
    """`(samples,)` at `rate`."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.format.name, "mono", rate, frame_size=size)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            output.mux(stream.encode(part))


@pytest.mark.parametrize(
    "suffix, codec, rate", [("webm", "libopus", 48000), ("mka", "aac", 44100), ("mov", "alac", 16000)]
)
def test_what_browsers_and_telephones_record(tmp_path, suffix, codec, rate):
    """Near what was written: neither shifted nor torn apart where time stamps are in milliseconds."""
    time = np.arange(2 * rate) / rate
    samples = (0.3 * np.sin(2 * np.pi * (200 * time + 150 * time**2))).astype(np.float32)
    write_container(tmp_path / f"a.{suffix}", codec, rate, samples)
    info = probe(tmp_path / f"a.{suffix}")
    assert info.sample_rate == rate and info.channels == 1 and 0 <= info.samples - 2 * rate <= 2048
    read = read_audio(tmp_path / f"a.{suffix}", sample_rate=rate)[: 2 * rate]
    middle = read[4000 : 2 * rate - 4000]
    lags = np.correlate(samples, middle, "valid")  # [lag]: the product with the samples from there on
    first = int(np.argmax(lags))
    assert abs(first - 4000) < 1500  # codecs delay
    assert np.corrcoef(middle, samples[first : first + len(middle)])[0, 1] > 0.995
    part = read_audio(tmp_path / f"a.{suffix}", rate // 2, rate, rate)
    assert np.corrcoef(part, read[rate // 2 : rate // 2 + rate])[0, 1] > 0.99


@pytest.mark.parametrize("suffix", ["m4a", "mka"])
def test_tags_in_another_encoding(tmp_path, sweep, suffix):
    write_aac(tmp_path / f"a.{suffix}", sweep, title="Muenchen")
    content = (tmp_path / f"a.{suffix}").read_bytes()
    assert b"Muenchen" in content
    (tmp_path / f"b.{suffix}").write_bytes(content.replace(b"Muenchen", "Münchenx".encode("latin-1")))
    np.testing.assert_array_equal(read_audio(tmp_path / f"b.{suffix}"), read_audio(tmp_path / f"a.{suffix}"))


def test_the_content_counts_and_not_the_name(tmp_path, sweep):
    soundfile.write(tmp_path / "a.wav", sweep, 16000)
    (tmp_path / "a.wav").rename(tmp_path / "a.m4a")
    assert np.abs(read_audio(tmp_path / "a.m4a") - sweep).max() < 1e-4


@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile secret.m4a\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.m4a\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_list_of_other_files_is_no_audio(tmp_path, sweep, content):
    write_aac(tmp_path / "secret.m4a", sweep)
    (tmp_path / "a.m4a").write_text(content)
    for read in (probe, read_audio):
        with pytest.raises(AudioError, match="not readable as audio"):
            read(tmp_path / "a.m4a")


@pytest.mark.parametrize("step", [0, 1])
def test_time_stamps_that_stand_still(tmp_path, sweep, step):
    write_aac(tmp_path / "a.m4a", sweep)
    content = bytearray((tmp_path / "a.m4a").read_bytes())
    table = content.index(b"stts") + 8  # entries, and of each the packets and their duration
    for entry in range(int.from_bytes(content[table : table + 4], "big")):
        content[table + 8 + 8 * entry : table + 12 + 8 * entry] = step.to_bytes(4, "big")
    (tmp_path / "a.m4a").write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.m4a: (cut off|has \d+ samples)"):
        read_audio(tmp_path / "a.m4a", 0, 16000)


@pytest.mark.parametrize("suffix", ["flac", "m4a"])
def test_names_that_are_no_unicode(tmp_path, suffix):
    path = tmp_path / os.fsdecode(b"\xff." + suffix.encode())
    path.write_bytes(b"something")
    with pytest.raises(AudioError, match="its name is no UTF-8; rename it"):
        probe(path)
