"""Angular prototypical loss.

Chung, Huh, Mun, Lee, Heo, Choe, Ham, Jung, Lee, Han: "In Defence of Metric Learning for Speaker Recognition",
Interspeech 2020, section 2.4.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.directions import directions
from speakerlab.losses.groups import by_speaker


class AngularPrototypical(nn.Module):
    """Cross entropy of `scale * cos(query_i, prototype_j) + offset` over the batch's speakers, in float32.

    The query is a speaker's last utterance, the prototype the mean of its others.

    Args:
        embed_dim, num_speakers: not needed; every loss is given them.
        scale, offset: where these two learned numbers start; the scale is held positive.

    Raises:
        ValueError: if the scale is not positive.
    """

    utterances_per_speaker = 2  # the least that a batch must have

    def __init__(self, embed_dim: int, num_speakers: int, scale: float = 10.0, offset: float = -5.0):
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale={scale} must be positive")
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.offset = nn.Parameter(torch.tensor(float(offset)))

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, None]:
        """`(batch, embed_dim)`, `(batch,)` of P x K -> scalar loss and no logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            groups = by_speaker(embeddings.float(), speakers)  # (speakers, utterances, embed_dim)
            queries, prototypes = groups[:, -1], groups[:, :-1].mean(dim=1)  # (speakers, embed_dim)
            cosine = directions(queries) @ directions(prototypes).T  # (speakers, speakers)
            logits = self.scale.clamp(min=1e-6) * cosine + self.offset
            loss = F.cross_entropy(logits, torch.arange(len(groups), device=logits.device))
        return loss, None
