"""What a trained network must beat."""

import math

import torch
from torch import Tensor, nn
from torchaudio.transforms import MFCC


class MeanMfcc(nn.Module):
    """Mean of 20 mel-frequency cepstral coefficients over an utterance: no learning, and no sense of who speaks beyond
    the long-term spectrum, which is the channel's as much as the speaker's.

    `(batch, samples)`, sample counts `-> (batch, 20)`.
    """

    embed_dim = 20

    def __init__(self, sample_rate: int):
        super().__init__()
        self.hop = round(0.010 * sample_rate)
        window = round(0.025 * sample_rate)
        self.window = max(512, 2 ** math.ceil(math.log2(window)))  # `MFCC` pads the window to the transform's size
        settings = {"n_fft": self.window, "win_length": window, "hop_length": self.hop, "n_mels": 40, "center": False}
        self.mfcc = MFCC(sample_rate, self.embed_dim, melkwargs=settings)
        self.mfcc.amplitude_to_DB.top_db = None  # its floor hangs on the loudest sound of the whole batch

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        coefficients = self.mfcc(waveform)  # (batch, 20, frames)
        frames = 1 + (lengths - self.window) // self.hop
        valid = torch.arange(coefficients.shape[-1], device=waveform.device) < frames[:, None, None]
        return coefficients.masked_fill(~valid, 0.0).sum(dim=-1) / frames[:, None]
