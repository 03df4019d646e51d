"""Generalized end-to-end loss.

Wan, Wang, Papir, Moreno: "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018, equations 4 to 10.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.losses.directions import SHORTEST, directions
from speakerlab.losses.groups import by_speaker

FORMS = ("softmax", "contrast")


class Ge2e(nn.Module):
    """Every utterance against the centroid of every speaker in the batch, `S_k = scale * cos(utterance, centroid_k) +
    offset`, its own speaker's without itself, in float32; the mean over the batch (the paper sums). A centroid is the
    mean of embeddings of unit length.

    - `softmax`: cross entropy of `S`, equation 6.
    - `contrast`: `1 - sigmoid(S_own) + max over the others of sigmoid(S_k)`, equation 7.

    The paper scales the gradients of scale and offset by 0.01; here they are those of the loss.

    Args:
        embed_dim, num_speakers: not needed; every loss is given them.
        form: `softmax` or `contrast`.
        scale, offset: where these two learned numbers (w and b in the paper) start; the scale is held positive.

    Raises:
        ValueError: if the form is neither, the scale is not positive, or the offset no number.
    """

    utterances_per_speaker = 2  # the least that a batch must have

    def __init__(
        self, embed_dim: int, num_speakers: int, form: str = "softmax", scale: float = 10.0, offset: float = -5.0
    ):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"form={form} must be one of {', '.join(FORMS)}")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale={scale} must be positive")
        if not math.isfinite(offset):
            raise ValueError(f"offset={offset} must be a number")
        self.form = form
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.offset = nn.Parameter(torch.tensor(float(offset)))

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, None]:
        """`(batch, embed_dim)`, `(batch,)` of P x K -> scalar loss and no logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            groups = by_speaker(directions(embeddings.float()), speakers)  # (speakers, utterances, embed_dim)
            cosine = self.scale.clamp(min=1e-6) * centroid_cosines(groups) + self.offset
            similarity = cosine.flatten(0, 1)  # (speakers * utterances, speakers)
            own = torch.arange(len(groups), device=similarity.device).repeat_interleave(groups.shape[1])
            if self.form == "softmax":
                return F.cross_entropy(similarity, own), None
            chances = similarity.sigmoid()
            others = chances.scatter(1, own[:, None], 0.0).amax(dim=1)
            loss = (1.0 - chances.gather(1, own[:, None]).squeeze(1) + others).mean()
        return loss, None


def centroid_cosines(groups: Tensor) -> Tensor:
    """`(speakers, utterances, embed_dim)` of unit length -> the cosine of each with each speaker's centroid,
    `(speakers, utterances, speakers)`; its own speaker's is that of the other utterances (equation 8)."""
    count = groups.shape[1]
    total = groups.sum(dim=1, keepdim=True)  # (speakers, 1, embed_dim)
    centroids = F.normalize(total[:, 0] / count, eps=SHORTEST)
    without_itself = F.normalize((total - groups) / (count - 1), dim=2, eps=SHORTEST)
    cosine = groups @ centroids.T
    own = (groups * without_itself).sum(dim=2, keepdim=True)  # (speakers, utterances, 1)
    is_own = torch.eye(len(groups), dtype=torch.bool, device=groups.device)[:, None]  # (speakers, 1, speakers)
    return torch.where(is_own, own, cosine)
