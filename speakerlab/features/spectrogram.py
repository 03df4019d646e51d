"""Short-time Fourier spectrogram, as the networks on spectrograms take it.

Nagrani, Chung, Zisserman: "VoxCeleb: A Large-Scale Speaker Identification Dataset", Interspeech 2017 (512 bins by 300
frames: magnitudes of 1024-point transforms of 25 ms Hamming windows every 10 ms).
"""

import torch
from torch import Tensor, nn

from speakerlab.features.framing import Framing, power_spectrum

SCALES = ("magnitude", "power", "log")
FLOOR = 1e-10  # of the power below the logarithm


class Spectrogram(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts or None `-> (batch, frames, bins), frame counts`.

    Args:
        bins: from 0 Hz upward, which is `dim`; the transform has twice as many points, so that only the bin at half
            the sample rate is left out.
        scale: "magnitude", "power" or "log" (natural logarithm of the power).
        sample_rate: in hertz.

    Raises:
        ValueError: for another scale, or a transform shorter than a frame.
    """

    def __init__(self, bins: int = 512, scale: str = "magnitude", sample_rate: int = 16000):
        super().__init__()
        self.framing = Framing(sample_rate)
        if 2 * bins < self.framing.length:
            raise ValueError(f"bins={bins} must be at least {-(-self.framing.length // 2)}, half a frame's samples")
        if scale not in SCALES:
            raise ValueError(f"scale={scale} must be one of {', '.join(SCALES)}")
        self.dim = bins
        self.channels = 1
        self.log_energies = scale == "log"
        self.scale = scale
        self.register_buffer("window", torch.hamming_window(self.framing.length), persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        power = power_spectrum(self.framing.split(waveform), self.window, 2 * self.dim)[..., : self.dim]
        if self.scale == "log":
            power = power.clamp(min=FLOOR).log()
        elif self.scale == "magnitude":
            power = power.clamp(min=FLOOR**2).sqrt()  # at 0 the root's slope is infinite
        return power, self.framing.counts(lengths)
