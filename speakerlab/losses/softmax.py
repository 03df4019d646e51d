"""Cross entropy of a linear classifier."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Softmax(nn.Module):
    """Cross entropy of `weight_j . embedding + bias_j`, in float32.

    Embeddings trained so are compared by cosine only as well as their lengths happen to allow; it is the first stage
    of older recipes, and the reference for losses with a margin.

    Args:
        embed_dim: size of the embeddings.
        num_speakers: classes.
    """

    def __init__(self, embed_dim: int, num_speakers: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_speakers, embed_dim))
        self.bias = nn.Parameter(torch.zeros(num_speakers))
        nn.init.xavier_normal_(self.weight)

    def forward(self, embeddings: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, embed_dim)`, `(batch,)` -> scalar loss and `(batch, num_speakers)` logits."""
        with torch.autocast(embeddings.device.type, enabled=False):
            logits = F.linear(embeddings.float(), self.weight, self.bias)
            loss = F.cross_entropy(logits, speakers)
        return loss, logits.detach()

    def speaker_weights(self) -> Tensor:
        """`(num_speakers, embed_dim)`: each speaker's row."""
        return self.weight.detach()
