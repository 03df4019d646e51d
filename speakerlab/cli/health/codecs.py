"""Audio formats: of each a tiny file is written, and read by the decoder that everything uses."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from speakerlab.cli.health.finding import BROKEN, GOOD, Finding, reason

RATE, SECONDS, HERTZ = 16000, 1.0, 440.0
READ_RATES = (16000, 8000)  # the second one needs the resampler
MEND = "pip install --force-reinstall {}"


def look() -> list[Finding]:
    """A finding for each format, with whether both rates came out."""
    with TemporaryDirectory(prefix="speakerlab-doctor-") as folder:
        return [
            decoded(Path(folder, f"tone{suffix}"), write, library) for suffix, (write, library) in formats().items()
        ]


def formats() -> dict[str, tuple[Callable[[Path], None], str]]:
    """Suffix -> what writes such a file, and the library that reads it."""
    found: dict[str, tuple[Callable[[Path], None], str]] = {
        suffix: (_by_soundfile(format, subtype), "soundfile")
        for suffix, format, subtype in (
            (".wav", "WAV", "PCM_16"),
            (".flac", "FLAC", "PCM_16"),
            (".ogg", "OGG", "VORBIS"),
            (".opus", "OGG", "OPUS"),
            (".mp3", "MP3", "MPEG_LAYER_III"),
            (".aiff", "AIFF", "PCM_16"),
            (".sph", "NIST", "PCM_16"),
        )
    }
    of_av = {".m4a": "aac", ".mp4": "aac", ".aac": "aac", ".3gp": "aac", ".webm": "libopus"}
    return found | {suffix: (_by_av(codec), "av") for suffix, codec in of_av.items()}


def decoded(path: Path, write: Callable[[Path], None], library: str) -> Finding:
    """Whether a file that was just written is the tone that it should be."""
    from speakerlab.data.audio import read_audio

    name, heard = path.suffix, []
    try:
        write(path)
        for rate in READ_RATES:
            heard.append(pitch(read_audio(path, sample_rate=rate), rate))
    except Exception as error:
        return Finding("audio", name, BROKEN, f"can't be read: {reason(error)}", MEND.format(library))
    if any(abs(hertz - HERTZ) > 5.0 for hertz in heard):
        shown = " and ".join(f"{hertz:.0f}" for hertz in heard)
        text = f"a tone of {HERTZ:.0f} Hz is read as {shown} Hz"
        return Finding("audio", name, BROKEN, text, MEND.format(f"{library} soxr"))
    return Finding("audio", name, GOOD, f"decoded ({library})")


def pitch(samples, rate: int) -> float:
    """The strongest frequency in hertz, to about 1 Hz; `(samples,)`."""
    import numpy as np

    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def _tone():
    """`(samples,)` float32."""
    import numpy as np

    return (0.5 * np.sin(2 * np.pi * HERTZ * np.arange(round(SECONDS * RATE)) / RATE)).astype(np.float32)


def _by_soundfile(format: str, subtype: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import soundfile

        soundfile.write(path, _tone(), RATE, format=format, subtype=subtype)

    return write


def _by_av(codec: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import av
        import numpy as np

        rate = 48000 if codec == "libopus" else RATE  # Opus knows few
        tone = np.repeat(_tone(), rate // RATE)[None]
        with av.open(str(path), "w", format="adts" if path.suffix == ".aac" else None) as output:
            stream = output.add_stream(codec, rate=rate, layout="mono", bit_rate=64000)
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, 0
            resampler = av.AudioResampler(stream.format, "mono", rate, stream.codec_context.frame_size or None)
            frames = resampler.resample(frame) + resampler.resample(None)
            for part in (*frames, None):
                output.mux(stream.encode(part))

    return write
