"""RawNet3.

Jung, Kim, Heo, Lee, Kwon, Chung: "Pushing the Limits of Raw Waveform Speaker Recognition", Interspeech 2022.
Parameters: 16,279,298, as in its official code (the paper: 16.3 M). After that code, the real and imaginary parts of
the analytic filters are rectified one by one, and both the waveform and the logarithms lose their mean. The Res2
convolution leaves its first group alone, not its last, which is the same network with its channels renamed; the
attention that the pooling gives it has ECAPA-TDNN's tanh, which is no parameter.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.encoders.layers.masking import apply_mask, frame_mask, masked_mean
from speakerlab.encoders.layers.res2 import ConvReluNorm, Res2Conv
from speakerlab.encoders.layers.sinc import SincBands

PRE_EMPHASIS = 0.97
WAVEFORM_EPS = 1e-4  # of the waveform's variance
LOG_FLOOR = 1e-6
POOLS = (5, 3)  # frames that the maxima after the first and the second block are over


class Afms(nn.Module):
    """Alpha feature map scaling: every channel is raised by a learned offset, then scaled by what the whole utterance
    says (Jung et al.: "Improved RawNet with Feature Map Scaling", Interspeech 2020).

    `(batch, channels, frames) -> (batch, channels, frames)`.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels, 1))
        self.gate = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # 16 bits overflow in the sum over long utterances
            context = masked_mean(x.float(), mask).squeeze(-1)  # (batch, channels)
        return (x + self.alpha) * self.gate(context).sigmoid().unsqueeze(-1)


class Block(nn.Module):
    """1x1 convolution, Res2 convolution, 1x1 convolution, a skip, maxima over `pool` frames, feature map scaling.

    `(batch, in, frames) -> (batch, out, frames // pool)`.
    """

    def __init__(self, in_channels: int, channels: int, dilation: int, scale: int, pool: int):
        super().__init__()
        self.expand = ConvReluNorm(in_channels, channels, 1)
        self.res2 = Res2Conv(channels, 3, dilation, scale)
        self.merge = ConvReluNorm(channels, channels, 1)
        self.skip = nn.Conv1d(in_channels, channels, 1, bias=False) if in_channels != channels else nn.Identity()
        self.pool = pool
        self.scale = Afms(channels)

    def forward(self, x: Tensor, mask: Tensor | None, pooled_mask: Tensor | None) -> Tensor:
        """`mask` and `pooled_mask` are of the input's and the output's frames."""
        x = self.merge(self.res2(self.expand(x), mask)) + self.skip(x)
        return self.scale(whole_maxima(x, self.pool), pooled_mask)


class RawNet3(nn.Module):
    """`(batch, samples, 1)`, sample counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: 1, the waveform's (features=raw).
        pooling: makes the pooling for a number of channels (the paper: attentive statistics with global context).
        sample_rate: in hertz.
        channels: width of the blocks (the paper: 1024); a quarter of it are filters, half of them odd.
        embed_dim: size of the embedding.
        pooled_channels: width of what is pooled (the paper: 1536).
        scale: groups of the Res2 convolutions.
        taps: of the analytic filters.
        stride: samples from one filter output to the next.

    Raises:
        ValueError: for features other than the waveform, or a value out of range.
    """

    takes_samples = True  # as frames

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        sample_rate: int = 16000,
        channels: int = 1024,
        embed_dim: int = 256,
        pooled_channels: int = 1536,
        scale: int = 8,
        taps: int = 251,
        stride: int = 10,
    ):
        super().__init__()
        if feature_dim != 1:
            raise ValueError(f"feature_dim={feature_dim} must be 1: RawNet3 takes the waveform (features=raw)")
        sizes = {"embed_dim": embed_dim, "pooled_channels": pooled_channels, "scale": scale, "stride": stride}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if channels < 8 or channels % 8 or channels % scale:
            raise ValueError(f"channels={channels} must be a multiple of 8 and of scale={scale}")
        self.embed_dim = embed_dim
        self.taps = taps
        self.stride = stride
        self.gain = nn.Parameter(torch.ones(()))  # of the normalised waveform
        self.offset = nn.Parameter(torch.zeros(()))
        self.bands = SincBands(channels // 8, taps, sample_rate)
        self.blocks = nn.ModuleList(
            Block(in_channels, channels, dilation, scale, pool)
            for in_channels, dilation, pool in zip(
                (channels // 4, channels, channels), (2, 3, 4), (*POOLS, 1), strict=True
            )
        )
        self.aggregate = nn.Conv1d(3 * channels, pooled_channels, 1)
        self.pooling = pooling(pooled_channels)
        self.pooling_norm = nn.BatchNorm1d(self.pooling.out_dim)
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)

    def filters(self) -> tuple[Tensor, Tensor]:
        """The learned band edges in hertz, lower and upper, `(channels / 8,)` each."""
        with torch.no_grad():
            return self.bands.edges()

    def spectrum(self, waveform: Tensor, lengths: Tensor | None) -> Tensor:
        """Logarithms of the rectified filter outputs, without their mean.

        `(batch, samples) -> (batch, channels / 4, frames)`. In float64 for embeddings: where a filter's output crosses
        zero, the logarithm turns a last digit, which hangs on the batch's shape, into a tenth.
        """
        precision = torch.float32 if self.training else torch.float64
        samples = None if lengths is None else frame_mask(lengths, waveform.shape[1])
        x = apply_mask(waveform.to(precision).unsqueeze(1), samples)  # (batch, 1, samples)
        x = x - PRE_EMPHASIS * torch.cat(
            [x[..., 1:2], x[..., :-1]], dim=-1
        )  # the second sample stands before the first
        x = x - masked_mean(x, samples)
        x = x * (masked_mean(x.square(), samples) + WAVEFORM_EPS).rsqrt() * self.gain + self.offset
        x = self._filter(x, torch.cat([self.bands.even(), self.bands.odd()]).to(precision)).abs().float()
        x = (x + LOG_FLOOR).log()
        return x - masked_mean(x, self._frame_mask(lengths, x.shape[-1]))

    def _filter(self, x: Tensor, filters: Tensor) -> Tensor:
        """`(batch, 1, samples)` and `(filters, taps)` `-> (batch, filters, frames)`."""
        if self.training:
            return F.conv1d(x, filters.unsqueeze(1), stride=self.stride)
        # As a product of matrices, which ONNX Runtime has in float64.
        starts = torch.arange(0, x.shape[-1] - self.taps + 1, self.stride, device=x.device)
        windows = x[:, 0, starts[:, None] + torch.arange(self.taps, device=x.device)]  # (batch, frames, taps)
        return filters @ windows.transpose(1, 2)

    def _frame_mask(self, lengths: Tensor | None, frames: int) -> Tensor | None:
        """Which filter outputs see an item's own samples alone: `(batch, 1, frames)`."""
        return None if lengths is None else frame_mask((lengths - self.taps) // self.stride + 1, frames)

    def frame_level(self, features: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the pooling sees, `(batch, pooled_channels, frames)`, and the mask of its frames."""
        least = self.taps + self.stride * (POOLS[0] * POOLS[1] - 1)
        if features.shape[1] < least:
            raise ValueError(f"{features.shape[1]} samples are shorter than the {least} that RawNet3 needs")
        with torch.autocast(features.device.type, enabled=False):
            x = self.spectrum(features.squeeze(-1).float(), lengths)  # (batch, filters, frames)
        mask = self._frame_mask(lengths, x.shape[-1])
        outputs = []
        for block in self.blocks:
            if len(outputs) == 2:  # the third block sees what both before it give
                x = whole_maxima(outputs[0], POOLS[1]) + x
            after = whole_mask(mask, block.pool)
            x = block(x, mask, after)
            mask = after
            outputs.append(x)
        outputs[0] = whole_maxima(outputs[0], POOLS[1])
        return self.aggregate(torch.cat(outputs, dim=1)).relu(), mask

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        pooled = self.pooling(*self.frame_level(features, lengths))  # (batch, 2 * pooled_channels)
        return self.project(self.pooling_norm(pooled))


def whole_maxima(x: Tensor, pool: int) -> Tensor:
    """Maxima over `pool` frames each, as many as are whole: `(batch, channels, frames)`.

    `max_pool1d` would be the same, but tie an exported graph to the length of the example.
    """
    if pool == 1:
        return x
    frames = x.shape[-1] // pool
    return x[..., : frames * pool].unflatten(-1, (frames, pool)).amax(dim=-1)


def whole_mask(mask: Tensor | None, pool: int) -> Tensor | None:
    """The mask of `whole_maxima`: an item's own where all its frames are."""
    return None if mask is None else mask[..., pool - 1 :: pool]
