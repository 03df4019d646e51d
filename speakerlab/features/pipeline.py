"""From a waveform to what an encoder sees."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.features.deltas import stack_deltas
from speakerlab.features.frames import pick_frames

IMAGE_CHANNELS = 3


class FeaturePipeline(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts or None `-> (batch, [channels,] frames, dim), frame counts or None`.

    Features, their derivatives, normalisation, a fixed number of frames, an image: in this order, in float32 whatever
    the precision around it.

    Args:
        extract: waveform -> features; see `speakerlab.features`.
        norm: makes the normalisation for `(dim, channels)`; None leaves the features.
        deltas: orders of derivatives beside the features.
        stack: whether derivatives are further values of a frame ("dim") or further channels ("channels").
        target_frames: longer items are cut to their middle, shorter ones padded; None leaves their lengths.
        pad: "wrap" repeats the item, "zero" appends zeros.
        image: resize to a square of this side with three channels, as networks for pictures take it; needs
            `target_frames`.

    Raises:
        ValueError: for a value out of range, or an image without `target_frames` or of other than 1 or 3 channels.
    """

    def __init__(
        self,
        extract: nn.Module,
        norm: Callable[[int, int], nn.Module] | None = None,
        deltas: int = 0,
        stack: str = "dim",
        target_frames: int | None = None,
        pad: str = "wrap",
        image: int | None = None,
    ):
        super().__init__()
        if not 0 <= deltas <= 3:
            raise ValueError(f"deltas={deltas} must lie in 0 to 3")
        if stack not in ("dim", "channels"):
            raise ValueError(f"stack={stack} must be dim or channels")
        if target_frames is not None and target_frames < 1:
            raise ValueError(f"target_frames={target_frames} must be at least 1")
        if pad not in ("wrap", "zero"):
            raise ValueError(f"pad={pad} must be wrap or zero")
        self.extract = extract
        self.dim: int = extract.dim * (deltas + 1 if stack == "dim" else 1)
        self.channels: int = extract.channels * (deltas + 1 if stack == "channels" else 1)
        self.norm = None if norm is None else norm(self.dim, self.channels)
        self.deltas = deltas
        self.stack = stack
        self.target_frames = target_frames
        self.pad = pad
        self.image = image
        if image is not None:
            if image < 1 or target_frames is None or self.channels not in (1, IMAGE_CHANNELS):
                raise ValueError(f"image={image} must be at least 1, with target_frames and 1 or 3 channels")
            self.dim, self.channels = image, IMAGE_CHANNELS

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        with torch.autocast(waveform.device.type, enabled=False):
            features, counts = self._with_deltas(waveform, lengths)
            if self.norm is not None:
                features = self.norm(features, counts)
            if self.target_frames is None:
                return features, counts
            features = fixed_frames(features, counts, self.target_frames, self.pad)
            return (features if self.image is None else to_image(features, self.image)), None

    @property
    def learns(self) -> bool:
        """Whether the normalisation wants statistics of the training set; see `fit`."""
        return hasattr(self.norm, "fit")

    @torch.no_grad()
    def fit(self, waveforms: Iterable[Tensor]) -> None:
        """Give the normalisation its statistics: waveforms `(batch, samples)` of the training set."""
        with torch.autocast("cpu", enabled=False):
            self.norm.fit(self._with_deltas(waveform, None)[0] for waveform in waveforms)

    def _with_deltas(self, waveform: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        features, counts = self.extract(waveform.float(), lengths)
        return stack_deltas(features, counts, self.deltas, self.stack), counts


def fixed_frames(features: Tensor, lengths: Tensor | None, target: int, pad: str) -> Tensor:
    """Exactly `target` frames of each item: the middle of a longer one, a shorter one repeated or followed by zeros.

    Args:
        features: `(batch, [channels,] frames, dim)`.
        lengths: `(batch,)` frame counts, or None.
        target: frames.
        pad: "wrap" or "zero".
    """
    if lengths is None:
        lengths = torch.full((len(features),), features.shape[-2], device=features.device)
    places = torch.arange(target, device=features.device)[None]  # (1, target)
    counts = lengths[:, None]
    picked = pick_frames(features, (places + (counts - target).clamp(min=0) // 2) % counts)
    if pad == "wrap":
        return picked
    inside = (places < counts).view(len(features), *(1,) * (features.ndim - 3), target, 1)
    return picked.masked_fill(~inside, 0.0)


def to_image(features: Tensor, side: int) -> Tensor:
    """`(batch, [channels,] frames, dim) -> (batch, 3, side, side)`, smoothed where it shrinks; time goes down."""
    if features.ndim == 3:
        features = features.unsqueeze(1)
    resized = F.interpolate(features, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return resized.expand(-1, IMAGE_CHANNELS, -1, -1) if features.shape[1] == 1 else resized
