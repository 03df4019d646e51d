"""Speech through a lossy codec and back: MP3 or Opus.

Opus: Valin et al.: RFC 6716, 2012. MP3: ISO/IEC 11172-3 and 13818-3.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from speakerlab.augment.probability import check_probability

# FFmpeg's names: encoder, decoder, sample format. Options trade a little quality for half the time.
CODECS = {
    "mp3": ("libmp3lame", "mp3float", "fltp", {"compression_level": "7"}),
    "opus": ("libopus", "libopus", "flt", {"application": "voip", "compression_level": "4"}),
}


def round_trip(waveform: np.ndarray, codec: str, kbps: int, sample_rate: int) -> np.ndarray:
    """Encode and decode, without the codec's delay.

    Args:
        waveform: `(samples,)` in [-1, 1].
        codec: "mp3" or "opus".
        kbps: bit rate in 1000 bits a second.
        sample_rate: in hertz, one that the codec knows.

    Returns:
        `(samples,)` float32.
    """
    import av

    _, decoder_name, _, _ = CODECS[codec]
    encoder = _open_encoder(codec, kbps, sample_rate)
    decoder = av.CodecContext.create(decoder_name, "r")
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    # The decoder drops the delay by itself: the encoder's packets say how much it is.
    packets = (packet for frame in _frames(waveform, encoder, sample_rate) for packet in encoder.encode(frame))
    decoded = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    samples = np.concatenate([_samples(frame) for frame in decoded])
    if decoded[0].sample_rate != sample_rate:  # Opus comes back at 48 kHz
        import soxr

        samples = soxr.resample(samples, decoded[0].sample_rate, sample_rate)
    return samples[: len(waveform)]


def _open_encoder(codec: str, kbps: int, sample_rate: int):
    import av

    name, _, sample_format, options = CODECS[codec]
    encoder = av.CodecContext.create(name, "w")
    encoder.sample_rate = sample_rate
    encoder.layout = "mono"
    encoder.format = sample_format
    encoder.bit_rate = 1000 * kbps
    encoder.time_base = Fraction(1, sample_rate)
    encoder.options = options
    encoder.open()
    return encoder


def _frames(waveform: np.ndarray, encoder, sample_rate: int) -> Iterator:
    """PyAV frames of the encoder's size, with silence after the end for as long as codecs look ahead; then None."""
    import av

    size = encoder.frame_size
    padded = np.zeros((-(-len(waveform) // size) + 4) * size, np.float32)
    padded[: len(waveform)] = waveform
    for first in range(0, len(padded), size):
        frame = av.AudioFrame.from_ndarray(padded[None, first : first + size], encoder.format.name, "mono")
        frame.sample_rate = sample_rate
        frame.pts = first
        yield frame
    yield None


def _samples(frame) -> np.ndarray:
    """`(samples,)` float32 of a mono PyAV frame."""
    samples = frame.to_ndarray().reshape(-1)
    return samples.astype(np.float32) / 32768.0 if samples.dtype == np.int16 else samples


class Codec:
    """Passes an item through a codec, at its own level: what the codec takes away is made up for.

    An item that exceeds full scale is coded quieter, since overload is `Clipping`'s matter.

    Args:
        codec: "mp3" or "opus".
        kbps: bit rates in 1000 bits a second, each with equal chance.
        probability: chance that an item is coded.
        sample_rate: in hertz; Opus knows 8, 12, 16, 24 and 48 kHz, MP3 also the rates of CDs.

    Raises:
        ValueError: for another codec, a bit rate or a sample rate that it does not know, or a probability that is none.
    """

    def __init__(self, codec: str, kbps: Sequence[int], probability: float, sample_rate: int = 16000):
        import av

        if codec not in CODECS:
            raise ValueError(f"codec={codec!r} must be one of {', '.join(CODECS)}")
        if not kbps:
            raise ValueError("kbps must hold at least one bit rate")
        for rate in kbps:
            if not 6 <= rate <= 320:
                raise ValueError(f"kbps={list(kbps)} must lie within 6 to 320")
            try:
                _open_encoder(codec, rate, sample_rate)
            except av.error.FFmpegError as error:
                raise ValueError(f"{codec} has no {rate} kbps at {sample_rate} Hz") from error
        self.codec = codec
        self.kbps = tuple(kbps)
        self.probability = check_probability(probability)
        self.sample_rate = sample_rate

    def process(self, waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """`(samples,)` float32 `->` as many, at the same RMS."""
        chance, which = generator.random(2)
        level = _rms(waveform)
        if chance >= self.probability or level == 0.0:
            return waveform
        scale = max(1.0, float(np.abs(waveform).max()))
        coded = round_trip(waveform / scale, self.codec, self.kbps[int(which * len(self.kbps))], self.sample_rate)
        return (coded * (level / max(_rms(coded), 1e-9))).astype(np.float32)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
