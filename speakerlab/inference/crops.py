"""Embeddings of crops of an utterance, averaged, as some programs score.

Chung, Huh, Mun, Lee, Heo, Choe, Ham, Jung, Lee, Han: "In Defence of Metric Learning for Speaker Recognition",
Interspeech 2020 (ten crops of 4 s); Tao's ECAPA-TDNN adds to five crops of 3 s the whole utterance.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

SECONDS_AT_ONCE = 120.0  # of crops


class CroppedNetwork(nn.Module):
    """A network over evenly spaced crops of each utterance, and over the whole of it if wanted.

    `(batch, samples), lengths (batch,) -> (batch, embed_dim)`. A row is the mean of the crops' embeddings, each scaled
    to the length 1: the product of two rows is the mean cosine over all pairs of their crops. With the whole utterance
    beside them, both parts are divided by the root of 2 and stand side by side: the product is the mean of the crops'
    and the whole's scores. One row an utterance whatever the crops, so that no scheme takes more memory than another.

    Args:
        network: `(batch, samples), lengths -> (batch, dim)`.
        crops: how many; the first begins with the utterance and the last ends with it.
        crop_samples: length of each; a shorter utterance is repeated until it is that long.
        sample_rate: in hertz.
        whole: whether the whole utterance counts too, as much as all crops.
    """

    def __init__(self, network: nn.Module, crops: int, crop_samples: int, sample_rate: int, whole: bool):
        super().__init__()
        self.network = network
        self.crops = crops
        self.crop_samples = crop_samples
        self.at_once = max(1, int(SECONDS_AT_ONCE * sample_rate) // crop_samples)
        self.whole = whole
        # In its state, so that whoever tells networks apart by their weights tells schemes of crops apart.
        self.register_buffer("scheme", torch.tensor([crops, crop_samples, int(whole)]))
        self.embed_dim: int = network.embed_dim * (2 if whole else 1)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        room = (lengths - self.crop_samples).clamp(min=0)  # (batch,)
        within = torch.arange(self.crop_samples, device=waveform.device)
        total = 0.0
        for crop in range(self.crops):
            first = room * crop // max(self.crops - 1, 1)
            samples = (first[:, None] + within) % lengths[:, None]  # (batch, crop_samples)
            total = total + self._units(waveform.gather(1, samples))
        mean = total / self.crops
        if not self.whole:
            return mean
        both = normalize(self.network(waveform, lengths).float(), dim=1), mean
        return torch.cat(both, dim=1) / math.sqrt(2.0)

    def _units(self, waveform: Tensor) -> Tensor:
        """Embeddings of crops `(batch, crop_samples)`, of length 1."""
        lengths = torch.full((len(waveform),), self.crop_samples, device=waveform.device)
        pieces = zip(waveform.split(self.at_once), lengths.split(self.at_once), strict=True)
        parts = [self.network(*piece) for piece in pieces]
        return normalize(torch.cat(parts).float(), dim=1)
