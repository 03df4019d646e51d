"""Convolutions over frequency and time: `(batch, channels, dim, frames)`, the frames last as in the 1-D networks."""

from torch import Tensor, nn

from speakerlab.encoders.layers.masking import apply_mask_2d


def as_planes(features: Tensor) -> Tensor:
    """`(batch, [channels,] frames, dim) -> (batch, channels, dim, frames)`; one channel where there is no such axis."""
    if features.ndim == 3:
        features = features.unsqueeze(1)
    return features.transpose(2, 3)


class ConvNorm2d(nn.Module):
    """Convolution without bias, padded by half its kernel, and batch norm.

    `(batch, in, dim, frames) -> (batch, out, ceil(dim / stride), ceil(frames / stride))`. Weights are drawn as He et
    al. (ICCV 2015) draw them for ReLU.

    Args:
        in_channels, out_channels: of the planes.
        kernel: odd side of the square kernel.
        stride: in both directions, or (over dim, over frames).
        groups: of channels that do not see each other.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int | tuple[int, int] = 1, groups: int = 1
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask`: `(batch, 1, frames)` of the input; a 1x1 kernel, which reads no neighbour, needs none."""
        return self.norm(self.conv(apply_mask_2d(x, mask)))
