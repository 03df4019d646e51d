"""Mean (and variance) normalisation over a window around each frame, as Kaldi's apply-cmvn-sliding."""

import torch
from torch import Tensor, nn

from speakerlab.features.frames import VARIANCE_FLOOR, pick_frames


class SlidingNorm(nn.Module):
    """Each frame loses the mean of `window` frames around it; near the ends the window stays within the item.

    Args:
        window: in frames; items no longer than it are normalised as a whole.
        variance: also divide by the window's standard deviation.

    Raises:
        ValueError: if the window is empty.
    """

    def __init__(self, window: int = 300, variance: bool = False):
        super().__init__()
        if window < 1:
            raise ValueError(f"window={window} must be at least 1")
        self.window = window
        self.variance = variance

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        frames = torch.arange(features.shape[-2], device=features.device)[None]  # (1, frames)
        counts = frames.new_full((len(features), 1), features.shape[-2]) if lengths is None else lengths[:, None]
        first = (frames - self.window // 2).clamp(min=0).minimum((counts - self.window).clamp(min=0))
        behind = (first + self.window).minimum(counts)  # (batch, frames)
        mean = self._window_mean(features, first, behind)
        if not self.variance:
            return features - mean
        spread = self._window_mean(features.double().square(), first, behind) - mean.double().square()
        return (features - mean) / spread.clamp(min=VARIANCE_FLOOR).sqrt().float()

    def _window_mean(self, values: Tensor, first: Tensor, behind: Tensor) -> Tensor:
        """Means over frames `first` to `behind`, from running sums, of the values' type."""
        # Frames beyond an item's own come after its last window: whatever they hold, no difference below has them.
        sums = torch.nn.functional.pad(values.double().cumsum(dim=-2), (0, 0, 1, 0))
        widths = (behind - first).view(len(values), *(1,) * (values.ndim - 3), -1, 1)
        return ((pick_frames(sums, behind) - pick_frames(sums, first)) / widths).to(values.dtype)
