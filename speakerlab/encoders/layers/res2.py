"""Res2Net's convolution over time (Gao et al.: "Res2Net: A New Multi-Scale Backbone Architecture", TPAMI 2021)."""

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.masking import apply_mask, reflect_ends


class ConvReluNorm(nn.Module):
    """Convolution of unchanged length, ReLU, batch norm: `(batch, in, frames) -> (batch, out, frames)`.

    Beyond an item's ends the convolution sees zeros, or with `reflect` the item's mirror image.

    Args:
        in_channels, out_channels: of the convolution.
        kernel: odd number of frames.
        dilation: frames from one to the next.
        affine: whether the norm has a gain and an offset.
        reflect: see above.
        norm: whether there is one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        dilation: int = 1,
        affine: bool = True,
        reflect: bool = False,
        norm: bool = True,
    ):
        super().__init__()
        pad = dilation * (kernel - 1) // 2
        self.reflected = pad if reflect else 0
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, dilation=dilation, padding=0 if reflect else pad)
        self.norm = nn.BatchNorm1d(out_channels, affine=affine) if norm else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = reflect_ends(x, mask, self.reflected) if self.reflected else apply_mask(x, mask)
        return self.norm(self.conv(x).relu())


class Res2Conv(nn.Module):
    """Res2Net convolution: the channels in `scale` groups, each convolved after adding the group before it, so that
    one layer sees several time spans. The first group passes through."""

    def __init__(self, channels: int, kernel: int, dilation: int, scale: int, reflect: bool = False):
        super().__init__()
        width = channels // scale
        self.width = width
        self.layers = nn.ModuleList(
            ConvReluNorm(width, width, kernel, dilation, reflect=reflect) for _ in range(scale - 1)
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        first, *rest = x.split(self.width, dim=1)
        outputs = [first]
        group = None
        for piece, layer in zip(rest, self.layers, strict=True):
            group = layer(piece if group is None else piece + group, mask)
            outputs.append(group)
        return torch.cat(outputs, dim=1)
