"""Per-channel energy normalisation: automatic gain control and root compression instead of the logarithm.

Wang et al.: "Trainable Frontend for Robust and Far-Field Keyword Spotting", ICASSP 2017.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import lfilter

from speakerlab.features.framing import SHIFT_MS

NOTHING = 1e-20  # loud sound is that much above silence


class Pcen(nn.Module):
    """`(E / (eps + M)^gain + bias)^power - bias^power`, where M is the energy E smoothed over time.

    Takes natural logarithms of energies, of which it undoes the logarithm: features=fbank, or spectrogram with
    scale=log.

    Args:
        gain: 0 to 1, how much of the level is taken away.
        bias: above 0.
        power: above 0.
        seconds: time constant of the smoothing.
        eps: above 0, in the energy's unit.
        shift_ms: from one frame to the next.
        log_energies: whether that is what the features are, without derivatives.

    Raises:
        ValueError: for a value out of range, or other features.
    """

    def __init__(
        self,
        gain: float = 0.98,
        bias: float = 2.0,
        power: float = 0.5,
        seconds: float = 0.4,
        eps: float = 1e-6,
        shift_ms: int = SHIFT_MS,
        log_energies: bool = True,
    ):
        super().__init__()
        if not log_energies:
            raise ValueError("PCEN takes natural logarithms of energies alone: features=fbank, no frames.deltas")
        for name, value in {"bias": bias, "power": power, "seconds": seconds, "eps": eps}.items():
            if not value > 0:
                raise ValueError(f"{name}={value} must be above 0")
        if not 0 <= gain <= 1:
            raise ValueError(f"gain={gain} must lie in 0 to 1")
        self.gain = gain
        self.bias = bias
        self.power = power
        self.eps = eps
        frames = 1000.0 * seconds / shift_ms
        self.weight = (math.sqrt(1.0 + 4.0 * frames**2) - 1.0) / (2.0 * frames**2)  # of a new frame in M

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        energy = features.exp()
        smooth = self._smooth(energy)
        # In logarithms, for M^gain spans too much for float32's products.
        ratio = (features - self.gain * (self.eps + smooth).log()).exp()
        return (ratio + self.bias).pow(self.power) - self.bias**self.power

    def _smooth(self, energy: Tensor) -> Tensor:
        """M_t = (1 - weight) M_(t-1) + weight E_t, starting at M_0 = E_0."""
        started = torch.cat([energy[..., :1, :] / self.weight, energy[..., 1:, :]], dim=-2).transpose(-1, -2)
        if torch.onnx.is_in_onnx_export():
            return smoothed_by_doubling(started * self.weight, 1.0 - self.weight).transpose(-1, -2)
        forget = energy.new_tensor([1.0, self.weight - 1.0])
        take = energy.new_tensor([self.weight, 0.0])
        return lfilter(started, forget, take, clamp=False).transpose(-1, -2)


def smoothed_by_doubling(values: Tensor, keep: float) -> Tensor:
    """y_t = keep y_(t-1) + x_t without a loop over t, for which ONNX has no plain operators: `(..., frames)`.

    After n steps each y has the last 2^n values; what is older counts less than `NOTHING` then.

    >>> smoothed_by_doubling(torch.tensor([1.0, 0.0, 0.0, 4.0]), 0.5)
    tensor([1.0000, 0.5000, 0.2500, 4.1250])
    """
    frames, reach = values.shape[-1], 1
    while keep**reach > NOTHING:
        values = values + keep**reach * F.pad(values, (reach, 0))[..., :frames]
        reach *= 2
    return values
