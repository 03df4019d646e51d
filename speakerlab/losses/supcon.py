"""Supervised contrastive loss.

Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan: "Supervised Contrastive Learning", NeurIPS 2020,
equation 2 (L_out).
"""

import math

import torch
from torch import Tensor, nn

from speakerlab.losses.directions import directions
from speakerlab.losses.groups import pairs


class SupCon(nn.Module):
    """For each utterance as an anchor, the cross entropy of `cos / temperature` over all other utterances of the batch,
    the mean over those of the same speaker as the right answer; the mean over the anchors (the paper sums), in float32.
    Utterances that are alone in the batch are no anchors.

    The paper's projection head is left out: what is trained is what is scored.

    Args:
        embed_dim, num_speakers: not needed; every loss is given them.
        temperature: the lower, the more the nearest utterances count.

    Raises:
        ValueError: if the temperature is not positive.
    """

    utterances_per_speaker = 2  # the least that a batch must have

    def __init__(self, embed_dim: int, num_speakers: int, temperature: float = 0.1):
        super().__init__()
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature={temperature} must be positive")
        self.temperature = temperature

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, None]:
        """`(batch, embed_dim)`, `(batch,)` with two utterances of a speaker or more -> scalar loss and no logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            units = directions(embeddings.float())
            logits = units @ units.T / self.temperature  # (batch, batch)
            same, different = pairs(speakers)
            everyone = logits.masked_fill(~(same | different), -math.inf).logsumexp(dim=1)  # but for itself
            positives = same.sum(dim=1)  # (batch,)
            answers = (logits * same).sum(dim=1) / positives.clamp(min=1)
            loss = (everyone - answers)[positives > 0].mean()
        return loss, None
