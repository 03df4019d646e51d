"""Linear prediction coefficients of each frame.

Makhoul: "Linear Prediction: A Tutorial Review", Proceedings of the IEEE, 1975 (autocorrelation method); Burg: "A new
analysis technique for time series data", NATO Advanced Study Institute on Signal Processing, 1968.
"""

import torch
from torch import Tensor, nn

from speakerlab.features.framing import Framing

METHODS = ("burg", "autocorrelation")
TINY = 1e-12  # of an energy: a silent frame predicts nothing and gets zeros


def levinson_durbin(autocorrelation: Tensor) -> Tensor:
    """Solve the normal equations of linear prediction for every frame.

    Args:
        autocorrelation: `(..., order + 1)` at lags 0 to order.

    Returns:
        `(..., order)`: a_1 ... a_order of the inverse filter 1 + a_1 z^-1 + ...
    """
    order = autocorrelation.shape[-1] - 1
    error = autocorrelation[..., :1] + TINY
    filters = torch.ones_like(error)  # (..., i + 1), starting with 1
    for i in range(1, order + 1):
        lags = autocorrelation[..., 1 : i + 1].flip(-1)  # (..., i)
        reflection = -(filters * lags).sum(dim=-1, keepdim=True) / error
        extended = torch.nn.functional.pad(filters, (0, 1))
        filters = extended + reflection * extended.flip(-1)
        error = error * (1.0 - reflection.square()) + TINY
    return filters[..., 1:]


def burg(frames: Tensor, order: int) -> Tensor:
    """Minimise the sum of forward and backward prediction errors, one reflection after the other.

    Args:
        frames: `(..., samples)`.
        order: less than `samples`.

    Returns:
        `(..., order)`: a_1 ... a_order.
    """
    forward, backward = frames[..., 1:], frames[..., :-1]
    filters = torch.ones_like(frames[..., :1])
    for _ in range(order):
        energy = (forward.square() + backward.square()).sum(dim=-1, keepdim=True) + TINY
        reflection = -2.0 * (forward * backward).sum(dim=-1, keepdim=True) / energy
        extended = torch.nn.functional.pad(filters, (0, 1))
        filters = extended + reflection * extended.flip(-1)
        ahead = forward + reflection * backward
        behind = backward + reflection * forward
        forward, backward = ahead[..., 1:], behind[..., :-1]
    return filters[..., 1:]


class Lpc(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts or None `-> (batch, frames, order), frame counts`.

    Args:
        order: of the prediction, which is `dim`.
        method: "burg" or "autocorrelation", the latter of Hamming-windowed frames.
        preemphasis: of the waveform, 0 for none.
        sample_rate: in hertz.

    Raises:
        ValueError: for an unknown method, or an order that a frame is too short for.
    """

    def __init__(self, order: int = 20, method: str = "burg", preemphasis: float = 0.97, sample_rate: int = 16000):
        super().__init__()
        self.framing = Framing(sample_rate)
        if not 1 <= order < self.framing.length - 1:
            raise ValueError(f"order={order} must lie in 1 to {self.framing.length - 2}")
        if method not in METHODS:
            raise ValueError(f"method={method} must be one of {', '.join(METHODS)}")
        if not 0 <= preemphasis < 1:
            raise ValueError(f"preemphasis={preemphasis} must lie in 0 to 1")
        self.dim = order
        self.channels = 1
        self.method = method
        self.preemphasis = preemphasis
        self.register_buffer("window", torch.hamming_window(self.framing.length, periodic=False), persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        emphasised = torch.cat([waveform[:, :1], waveform[:, 1:] - self.preemphasis * waveform[:, :-1]], dim=1)
        frames = self.framing.split(emphasised).double()  # (batch, frames, length); float32 loses the higher orders
        if self.method == "burg":
            coefficients = burg(frames, self.dim)
        else:
            coefficients = levinson_durbin(autocorrelate(frames * self.window, self.dim))
        return coefficients.float(), self.framing.counts(lengths)


def autocorrelate(frames: Tensor, order: int) -> Tensor:
    """`(..., samples) -> (..., order + 1)` sums of products at lags 0 to `order`."""
    samples = frames.shape[-1]
    if torch.onnx.is_in_onnx_export():  # ONNX Runtime's Fourier transform errs more
        products = [(frames[..., lag:] * frames[..., : samples - lag]).sum(dim=-1) for lag in range(order + 1)]
        return torch.stack(products, dim=-1)
    size = 2 ** (2 * samples - 1).bit_length()
    spectrum = torch.fft.rfft(frames, size)
    return torch.fft.irfft(spectrum.real.square() + spectrum.imag.square(), size)[..., : order + 1]
