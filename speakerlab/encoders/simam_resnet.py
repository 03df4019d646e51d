"""ResNet with the simple attention module (SimAM), which has no parameters.

Qin, Li, Weng, Su, Li: "Simple Attention Module based Speaker Verification with Iterative noisy label detection",
ICASSP 2022; the module is of Yang, Zhang, Li, Xie: "SimAM: A Simple, Parameter-Free Attention Module for Convolutional
Neural Networks", ICML 2021. Parameters with 80-dimensional input, attentive statistics and 256-dimensional output:
SimAM-ResNet34 25.2 M and SimAM-ResNet100 50.2 M.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.convolution2d import ConvNorm2d, as_planes
from speakerlab.encoders.layers.masking import apply_mask_2d, frame_mask
from speakerlab.encoders.layers.residual2d import ResidualStages


def simam_weights(x: Tensor, mask: Tensor | None, regularization: float) -> Tensor:
    """How much each value stands out from its channel: `(batch, channels, dim, frames)`, float32 in (0.5, 1).

    The inverse of the least energy that separates a neuron from the others of its channel (Yang et al., equation 5),
    (x - mean)^2 / (4 (variance + lambda)) + 1/2, through a sigmoid.

    Args:
        x: `(batch, channels, dim, frames)`.
        mask: `(batch, 1, frames)`; mean and variance are over each item's own frames and all of `dim`.
        regularization: lambda.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = apply_mask_2d(x.float(), mask)
        own = torch.full((1, 1, 1), x.shape[3], device=x.device) if mask is None else mask.sum(dim=-1, keepdim=True)
        count = x.shape[2] * own.unsqueeze(-1)  # (batch, 1, 1, 1) values of a channel
        mean = x.sum(dim=(2, 3), keepdim=True) / count
        distance = apply_mask_2d((x - mean).square(), mask)
        variance = distance.sum(dim=(2, 3), keepdim=True) / (count - 1).clamp(min=1)  # one value alone: 0
        return (distance / (4.0 * (variance + regularization)) + 0.5).sigmoid()


class Simam(nn.Module):
    """Each value times its weight: `(batch, channels, dim, frames)`, mask `-> (batch, channels, dim, frames)`."""

    def __init__(self, regularization: float):
        super().__init__()
        self.regularization = regularization

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x * simam_weights(x, mask, self.regularization).to(x.dtype)


class SimamResNet(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Basic blocks, each with SimAM before its skip is added; stem and pooling as in `resnet`.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (the paper: attentive statistics).
        feature_channels: planes of features.
        depths: blocks of each of the four stages.
        width: channels of the first stage, doubled by each further one.
        embed_dim: size of the embedding.
        regularization: lambda of SimAM's energy (Yang et al.: 1e-4).

    Raises:
        ValueError: if a size or the regularization is not positive, or for other than four depths.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 1,
        depths: tuple[int, ...] = (3, 4, 6, 3),
        width: int = 64,
        embed_dim: int = 256,
        regularization: float = 1e-4,
    ):
        super().__init__()
        sizes = {
            "feature_dim": feature_dim,
            "feature_channels": feature_channels,
            "width": width,
            "embed_dim": embed_dim,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if not regularization > 0:
            raise ValueError(f"regularization={regularization} must be above 0")
        self.embed_dim = embed_dim
        self.stem = ConvNorm2d(feature_channels, width, 3)
        self.stages = ResidualStages(width, "basic", depths, width, lambda channels: Simam(regularization))
        self.pooling = pooling(self.stages.out_channels * self.stages.out_dim(feature_dim))
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)

    def frame_level(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the pooling sees: `(batch, channels * dim / 8, frames / 8)` and its mask."""
        x, mask = self.stages(self.stem(as_planes(features), mask).relu(), mask)
        return x.flatten(1, 2), mask

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[-2])
        return self.project(self.pooling(*self.frame_level(features, mask)))
