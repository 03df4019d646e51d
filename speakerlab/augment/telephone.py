"""A telephone line: 300 to 3400 Hz, 8 kHz and 8 bits.

ITU-T Recommendation G.711: "Pulse code modulation (PCM) of voice frequencies", 1988, tables 1 and 2.
"""

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.filtering import band_pass, convolve
from speakerlab.augment.probability import check_probability

LINE_RATE = 8000
LINE_BAND = (300, 3400)
TAP_SECONDS = 0.016  # transitions of about 200 Hz, so that nothing above 4 kHz is left to fold back
NO_LAW, MU_LAW, A_LAW = 0.0, 1.0, 2.0


def mu_law(x: Tensor) -> Tensor:
    """Samples as they come out of a mu-law codec (G.711, table 2): 255 levels, float32 in [-0.98, 0.98].

    Full scale is 8192 of the table's units; larger samples get the largest level.
    """
    # With 33 added, every segment of 16 intervals reaches from one power of 2 to the next.
    magnitude = (x.float().abs() * 8192.0 + 33.0).clamp(max=8191.0)
    return torch.copysign((_middle(magnitude) - 33.0) / 8192.0, x)


def a_law(x: Tensor) -> Tensor:
    """Samples as they come out of an A-law codec (G.711, table 1): 256 levels, float32 in [-0.98, 0.98].

    Full scale is 4096 of the table's units; larger samples get the largest level, and zero the smallest positive one.
    """
    magnitude = (x.float().abs() * 4096.0).clamp(max=4095.0)
    # The lowest two segments have intervals of 2 both.
    middle = torch.where(magnitude < 32.0, 2.0 * (magnitude / 2.0).floor() + 1.0, _middle(magnitude.clamp(min=32.0)))
    return torch.copysign(middle / 4096.0, x)


def _middle(magnitude: Tensor) -> Tensor:
    """Middle of the interval that holds the magnitude, of 16 between its power of 2 and the next; exact in float32."""
    mantissa, _ = torch.frexp(magnitude)  # in [0.5, 1)
    width = magnitude / mantissa / 32.0
    return ((magnitude / width).floor() + 0.5) * width


class Telephone:
    """Passes an item through a telephone line with mu-law (America, Japan) or A-law (elsewhere), each as often.

    The filter's delay is taken back. An item that exceeds full scale is sent quieter and comes back at its own level:
    overload is `Clipping`'s matter.

    Args:
        probability: chance that an item is telephoned.
        sample_rate: in hertz, a multiple of 8000.

    Raises:
        ValueError: for another sample rate or a probability that is none.
    """

    def __init__(self, probability: float = 1.0, sample_rate: int = 16000):
        if sample_rate % LINE_RATE:
            raise ValueError(f"sample_rate={sample_rate} must be a multiple of the telephone line's {LINE_RATE} Hz")
        self.probability = check_probability(probability)
        self.sample_rate = sample_rate
        self.factor = sample_rate // LINE_RATE
        self.taps = 2 * round(TAP_SECONDS * sample_rate / 2) + 1

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """One item's `law` `()`: 1 is mu-law, 2 is A-law."""
        chance, which = generator.random(2)
        if chance >= self.probability:
            return self.neutral(samples)
        return {"law": np.array(MU_LAW if which < 0.5 else A_LAW, np.float32)}

    @staticmethod
    def neutral(samples: int) -> dict[str, np.ndarray]:
        """What an item that is spared gets: no line."""
        return {"law": np.array(NO_LAW, np.float32)}

    def apply(self, x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """`(batch, samples)` with `law` `(batch,)` `-> (batch, samples)`."""
        with torch.autocast(x.device.type, enabled=False):
            x, law = x.float(), drawn["law"][:, None]  # (batch, 1)
            scale = x.abs().amax(dim=-1, keepdim=True).clamp(min=1.0)
            band = self._filter(LINE_BAND[0], LINE_BAND[1], x.device)
            sent = convolve(x / scale, band, self.taps // 2)[:, :: self.factor]  # (batch, line samples)
            received = torch.where(law == MU_LAW, mu_law(sent), a_law(sent))
            spread = torch.zeros_like(x)
            spread[:, :: self.factor] = received * self.factor
            smooth = self._filter(0, LINE_RATE / 2, x.device)
            return torch.where(law == NO_LAW, x, convolve(spread, smooth, self.taps // 2) * scale)

    def _filter(self, low_hz: float, high_hz: float, device: torch.device) -> Tensor:
        """`(1, taps)`, made on the device: a copy from here would wait for it."""
        edges = (torch.full((1,), hz / self.sample_rate, device=device) for hz in (low_hz, high_hz))
        return band_pass(*edges, self.taps)
