"""MFA-Conformer: the outputs of all Conformer blocks, side by side.

Zhang, Lv, Wu, Zhang, Hu, Wu, Lee, Meng: "MFA-Conformer: Multi-scale Feature Aggregation Conformer for Automatic Speaker
Verification", Interspeech 2022. Parameters with 80-dimensional input: 19,759,424 for half and 19,038,784 for a quarter
of the frames, as in the authors' code; a pooling.bottleneck of 256 gives the 20.5 M and 19.8 M that are quoted. Their
code leaves out the step that makes its positions relative, and multiplies what enters the blocks by 16; this does
neither.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from speakerlab.encoders.layers.conformer import ConformerBlock, relative_positions
from speakerlab.encoders.layers.convolution2d import as_planes
from speakerlab.encoders.layers.masking import apply_mask_2d, frame_mask, strided_mask

SUBSAMPLING_LAYERS = {2: 1, 4: 2}  # strided convolutions


class Subsampling(nn.Module):
    """Convolutions over frequency and time, each of which halves both, and a linear layer.

    `(batch, in, dim, frames)` and mask `-> (batch, ceil(frames / factor), width)` and its mask. Time is padded, so that
    no audio is too short; frequency is not.

    Args:
        in_channels: planes of features.
        dim: values a frame.
        width: of the planes and of the output.
        factor: 2 or 4.
    """

    def __init__(self, in_channels: int, dim: int, width: int, factor: int):
        super().__init__()
        self.convolutions = nn.ModuleList()
        for _ in range(SUBSAMPLING_LAYERS[factor]):
            self.convolutions.append(nn.Conv2d(in_channels, width, 3, 2, padding=(0, 1)))
            in_channels, dim = width, (dim - 1) // 2
        self.project = nn.Linear(width * dim, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        for convolution in self.convolutions:
            x, mask = convolution(apply_mask_2d(x, mask)).relu(), strided_mask(mask, 2)
        return self.project(x.flatten(1, 2).transpose(1, 2)), mask


class MfaConformer(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: values a frame.
        pooling: makes the pooling for a number of channels (the paper: attentive statistics with global context).
        feature_channels: planes of features.
        subsampling: frames that become one, 2 or 4.
        blocks: Conformer blocks.
        width: of the blocks, even and a multiple of `heads`.
        heads: of the attention.
        hidden: width inside the feed-forward layers.
        kernel: odd frames of the blocks' convolution.
        embed_dim: size of the embedding.
        dropout: in the blocks and before them, 0 to below 1.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 1,
        subsampling: int = 2,
        blocks: int = 6,
        width: int = 256,
        heads: int = 4,
        hidden: int = 2048,
        kernel: int = 15,
        embed_dim: int = 192,
        dropout: float = 0.1,
    ):
        super().__init__()
        sizes = {
            "feature_channels": feature_channels,
            "blocks": blocks,
            "width": width,
            "heads": heads,
            "hidden": hidden,
            "kernel": kernel,
            "embed_dim": embed_dim,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if subsampling not in SUBSAMPLING_LAYERS:
            raise ValueError(f"subsampling={subsampling} must be 2 or 4")
        if feature_dim < 2 * subsampling - 1:  # what the convolutions leave one frequency of
            raise ValueError(f"feature_dim={feature_dim} must be at least {2 * subsampling - 1}")
        if width % 2 or width % heads:
            raise ValueError(f"width={width} must be even and a multiple of heads={heads}")
        if kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} must be odd")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must lie in 0 to below 1")
        self.embed_dim = embed_dim
        self.subsampling = Subsampling(feature_channels, feature_dim, width, subsampling)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(ConformerBlock(width, heads, hidden, kernel, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(blocks * width)
        self.pooling = pooling(blocks * width)
        self.pooling_norm = nn.BatchNorm1d(self.pooling.out_dim)
        self.project = nn.Linear(self.pooling.out_dim, embed_dim)

    def frame_level(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the pooling sees: `(batch, blocks * width, frames / subsampling)` and its mask."""
        x, mask = self.subsampling(as_planes(features), mask)  # (batch, frames / subsampling, width)
        positions = self.dropout(relative_positions(x.shape[1], x.shape[2], x.device))
        x = self.dropout(x)
        outputs = []
        for block in self.blocks:
            x = block(x, positions, mask)
            outputs.append(x)
        return self.norm(torch.cat(outputs, dim=-1)).transpose(1, 2), mask

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[-2])
        return self.project(self.pooling_norm(self.pooling(*self.frame_level(features, mask))))
