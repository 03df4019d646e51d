"""ResNet in its ImageNet layout, on a spectrogram that is resized to a picture.

He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016 (table 1). Parameters below the
classifier, with three channels: ResNet-18 11,176,512; ResNet-34 21,284,672; ResNet-50 23,508,032, as torchvision's.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.encoders.layers.convolution2d import ConvNorm2d, as_planes
from speakerlab.encoders.layers.masking import apply_mask_2d, frame_mask, strided_mask
from speakerlab.encoders.layers.residual2d import ResidualStages


class ResNetImage(nn.Module):
    """`(batch, [channels,] frames, feature_dim)`, frame counts `(batch,)` or None `-> (batch, embed_dim)`.

    7x7 stem with stride 2, 3x3 max-pooling with stride 2, four stages, the mean over frequency, a pooling over time,
    and a linear embedding in the classifier's place. With the mean over time, too, it is the paper's over the whole
    picture, which may have any size; the paper's is 224 x 224 with 3 channels.

    Args:
        feature_dim: width of the picture.
        pooling: makes the pooling over time for a number of channels (the paper: the mean).
        feature_channels: its channels.
        block: "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1).
        depths: blocks of each of the four stages.
        width: channels of the first stage, doubled by each further one.
        embed_dim: size of the embedding.

    Raises:
        ValueError: if a size is not positive, for another block, or other than four depths.
    """

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        feature_channels: int = 3,
        block: str = "basic",
        depths: tuple[int, ...] = (2, 2, 2, 2),
        width: int = 64,
        embed_dim: int = 256,
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
        self.embed_dim = embed_dim
        self.stem = ConvNorm2d(feature_channels, width, 7, stride=2)
        self.stages = ResidualStages(width, block, depths, width)
        self.pooling = pooling(self.stages.out_channels)
        self.project = nn.Linear(self.pooling.out_dim, embed_dim, bias=False)
        self.embedding_norm = nn.BatchNorm1d(embed_dim)

    def frame_level(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the pooling sees: `(batch, channels, frames / 32)`, in float32, and its mask."""
        x, mask = self.stem(as_planes(features), mask).relu(), strided_mask(mask, 2)
        # Nothing is below 0 after the ReLU, so padding set to 0 never is the largest.
        x, mask = F.max_pool2d(apply_mask_2d(x, mask), 3, stride=2, padding=1), strided_mask(mask, 2)
        x, mask = self.stages(x, mask)
        return x.float().mean(dim=2), mask

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else frame_mask(lengths, features.shape[-2])
        return self.embedding_norm(self.project(self.pooling(*self.frame_level(features, mask))))
