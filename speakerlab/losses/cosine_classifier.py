"""Cosines of embeddings with one or several weight rows a speaker, for all speakers or a random part of them.

Sub-centres: Deng, Guo, Liu, Gong, Zafeiriou: "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web
Faces", ECCV 2020, section 3.2. Sampling: An et al.: "Killing Two Birds with One Stone: Efficient and Robust Training of
Face Recognition CNNs by Partial FC", CVPR 2022, section 3.3.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.directions import directions


class CosineClassifier(nn.Module):
    """`(batch, embed_dim)` and speakers `(batch,)` -> the classes looked at, and a cosine with each.

    In training with `sampled_share` below 1 these are the batch's own speakers and others drawn at random, so that the
    cosines and their gradients take the memory of the classes drawn, however many speakers there are; in evaluation
    they are all.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
        subcenters: weight rows a speaker (K), of which the nearest counts: recordings with a wrong label gather at rows
            of their own.
        sampled_share: of the speakers, in (0, 1], looked at in a training step.

    Raises:
        ValueError: for an argument out of its range.
    """

    def __init__(self, embed_dim: int, num_speakers: int, subcenters: int = 1, sampled_share: float = 1.0):
        super().__init__()
        if subcenters < 1:
            raise ValueError(f"subcenters={subcenters} must be at least 1")
        if not 0 < sampled_share <= 1:
            raise ValueError(f"sampled_share={sampled_share} must lie above 0, to 1")
        self.num_speakers = num_speakers
        self.subcenters = subcenters
        self.sampled_share = sampled_share
        self.weight = nn.Parameter(torch.empty(num_speakers * subcenters, embed_dim))  # a speaker's rows side by side
        nn.init.xavier_normal_(self.weight)

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Cosines `(batch, classes)`, the column `(batch,)` of each item's own speaker, and the speakers `(classes,)`
        that the columns stand for: None for all of them in order.

        To be called with autocast off, with float32 embeddings.
        """
        classes = self._sample(speakers)
        weight, columns = self.weight, speakers
        if classes is not None:
            weight = weight.view(self.num_speakers, -1)[classes].view(len(classes) * self.subcenters, -1)
            columns = torch.searchsorted(classes, speakers)
        cosine = F.linear(directions(embeddings), F.normalize(weight.float()))  # (batch, classes * subcenters)
        if self.subcenters > 1:
            cosine = cosine.view(len(cosine), -1, self.subcenters).amax(dim=2)  # (batch, classes)
        return cosine, columns, classes

    def _sample(self, speakers: Tensor) -> Tensor | None:
        count = math.ceil(self.sampled_share * self.num_speakers)
        if not self.training or count == self.num_speakers:
            return None
        order = torch.rand(self.num_speakers, device=speakers.device)
        order[speakers] = 2.0  # the batch's own come first
        present = min(len(speakers), self.num_speakers)
        return order.topk(max(count, present)).indices.sort().values

    def logits(self, scaled: Tensor, classes: Tensor | None) -> Tensor:
        """`(batch, num_speakers)` from values for the `classes` of `forward`; -inf for speakers not looked at."""
        scaled = scaled.detach()
        if classes is None:
            return scaled
        everyone = scaled.new_full((len(scaled), self.num_speakers), -math.inf)
        everyone[:, classes] = scaled
        return everyone

    def speaker_weights(self) -> Tensor:
        """`(num_speakers, embed_dim)`: each speaker's row; the mean direction of several."""
        rows = F.normalize(self.weight.detach().float())
        return F.normalize(rows.view(self.num_speakers, self.subcenters, -1).mean(dim=1))
