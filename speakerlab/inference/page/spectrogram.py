"""A mel spectrogram to look at, without torch: an ONNX model's page has one too."""

import numpy as np
from numpy.typing import NDArray

FRAME_MS, SHIFT_MS, FFT_SIZE, BANDS = 25, 10, 512, 64
FLOOR = 1e-10  # of the power: -100 dB
BLOCK = 4096  # frames at a time


def mel_spectrogram(waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """`(samples,)` of at least a frame `-> (frames, 64)` in dB, as `speakerlab.features.mel_spectrogram` has it.

    Args:
        waveform: in [-1, 1].
        sample_rate: in hertz.
    """
    import librosa

    length, shift = sample_rate * FRAME_MS // 1000, sample_rate * SHIFT_MS // 1000
    size = max(FFT_SIZE, 1 << (length - 1).bit_length())
    filters = librosa.filters.mel(sr=sample_rate, n_fft=size, n_mels=BANDS).T  # (bins, bands)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, length)[::shift]  # (frames, length)
    found = np.empty((len(frames), BANDS), np.float32)
    for first in range(0, len(frames), BLOCK):
        spectrum = np.fft.rfft(frames[first : first + BLOCK] * window, size)
        power = spectrum.real**2 + spectrum.imag**2
        found[first : first + BLOCK] = 10.0 * np.log10(np.maximum(power @ filters, FLOOR))
    return found
