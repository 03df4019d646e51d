"""Do two utterances share a speaker? A small network decides on pairs of embeddings.

|a - b| and a * b of two embeddings: Conneau, Kiela, Schwenk, Barrault, Bordes: "Supervised Learning of Universal
Sentence Representations from Natural Language Inference Data", EMNLP 2017, section 3.1. Cross entropy on the pairs of
a batch, with a weight for their unequal numbers: Snyder, Ghahremani, Povey, Garcia-Romero, Carmiel, Khudanpur: "Deep
Neural Network-based Speaker Embeddings for End-to-end Speaker Verification", SLT 2016.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.directions import directions
from speakerlab.losses.groups import pairs


class PairMlp(nn.Module):
    """Cross entropy of the decision "one speaker or two?" on the pairs of a batch, in float32. Pairs of one speaker
    weigh as much together as pairs of two, however many there are of each.

    An MLP with one hidden layer is given |a - b| and a * b of the two directions, with components of about 1 (length
    `sqrt(embed_dim)`), so that the order of the two does not count. Its output is the logarithm of the odds that they
    are of one speaker, where both kinds of pairs are equally likely.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: not needed; every loss is given it.
        hidden: units.
        dropout: share of these that a training step leaves out.
        hardest_share: of the pairs of two speakers, those with the highest cosines. 1.0 takes all; with less, the odds
            are those of pairs that are as hard.

    Raises:
        ValueError: if there is no hidden unit, or a share is out of its range.
    """

    utterances_per_speaker = 2  # the least that a batch must have

    def __init__(
        self, embed_dim: int, num_speakers: int, hidden: int = 128, dropout: float = 0.2, hardest_share: float = 1.0
    ):
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden={hidden} must be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must lie in 0 to 1, without 1")
        if not 0 < hardest_share <= 1:
            raise ValueError(f"hardest_share={hardest_share} must lie above 0, to 1")
        self.hardest_share = hardest_share
        self.embed_dim = embed_dim
        self.hidden = nn.Linear(2 * embed_dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, 1)

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, None]:
        """`(batch, embed_dim)`, `(batch,)` with two utterances of a speaker or more -> scalar loss and no logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            units = directions(embeddings.float())
            same, different = (mask.triu().nonzero().T for mask in pairs(speakers))  # (2, pairs), each pair once
            different = different[:, self._hardest(units.detach(), different)]
            genuine, impostor = (self._odds(units[first], units[second]) for first, second in (same, different))
            loss = 0.5 * (F.softplus(-genuine).mean() + F.softplus(impostor).mean())
        return loss, None

    def log_odds(self, first: Tensor, second: Tensor) -> Tensor:
        """`(pairs, embed_dim)` twice -> `(pairs,)`, above 0 where one speaker is likelier than two."""
        with torch.autocast(first.device.type, enabled=False):
            return self._odds(directions(first.float()), directions(second.float()))

    def _odds(self, first: Tensor, second: Tensor) -> Tensor:
        """Of directions."""
        gain = math.sqrt(self.embed_dim)
        # In this order of operations the two can change places without a bit of difference.
        apart, along = gain * (first - second).abs(), gain**2 * (first * second)  # (pairs, embed_dim)
        hidden = F.relu(self.hidden(torch.cat((apart, along), dim=1)))
        return self.out(self.dropout(hidden)).squeeze(1)

    def _hardest(self, units: Tensor, couples: Tensor) -> Tensor | slice:
        """Which of the pairs of two speakers `(2, pairs)` are trained on."""
        if self.hardest_share == 1:
            return slice(None)
        first, second = couples
        cosine = (units[first] * units[second]).sum(dim=1)
        return cosine.topk(math.ceil(self.hardest_share * len(cosine))).indices
