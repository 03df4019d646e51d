"""Prototypical loss.

Snell, Swersky, Zemel: "Prototypical Networks for Few-shot Learning", NeurIPS 2017, equation 2; with batches of speakers
as in Chung et al.: "In Defence of Metric Learning for Speaker Recognition", Interspeech 2020, section 2. The metric's
scale is that of Oreshkin, Rodriguez Lopez, Lacoste: "TADAM: Task dependent adaptive metric for improved few-shot
learning", NeurIPS 2018, section 3.1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.groups import by_speaker


class Prototypical(nn.Module):
    """Cross entropy of `-scale |query_i - prototype_j|^2` over the batch's speakers, in float32.

    The query is a speaker's last utterance, the prototype the mean of its others. Lengths of embeddings count while
    training, though scores are cosines.

    Args:
        embed_dim, num_speakers: not needed; every loss is given them.
        scale: of the squared distances; 1 is the loss of Snell et al. Embeddings that end in a batch norm begin
            hundreds apart, where that cross entropy is nearly a maximum: only the nearest prototype has a slope.

    Raises:
        ValueError: for a scale that is not positive.
    """

    utterances_per_speaker = 2  # the least that a batch must have

    def __init__(self, embed_dim: int, num_speakers: int, scale: float):
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale={scale} must be above 0")
        self.scale = scale

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, None]:
        """`(batch, embed_dim)`, `(batch,)` of P x K -> scalar loss and no logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            groups = by_speaker(embeddings.float(), speakers)  # (speakers, utterances, embed_dim)
            queries, prototypes = groups[:, -1], groups[:, :-1].mean(dim=1)  # (speakers, embed_dim)
            # |query|^2 is the same for every prototype, so that the cross entropy does not see it.
            logits = 2.0 * queries @ prototypes.T - prototypes.square().sum(dim=1)  # (speakers, speakers)
            loss = F.cross_entropy(self.scale * logits, torch.arange(len(groups), device=logits.device))
        return loss, None
