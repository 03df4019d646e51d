"""The waveform itself, for networks that learn their own filters."""

from torch import Tensor, nn


class Raw(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts or None `-> (batch, samples, 1), sample counts`."""

    def __init__(self):
        super().__init__()
        self.dim = 1
        self.channels = 1

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return waveform.unsqueeze(-1), lengths
