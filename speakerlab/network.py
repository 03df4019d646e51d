"""What turns a waveform into a speaker embedding: features and an encoder, together."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn


class SpeakerNetwork(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        features: waveform batch -> feature batch and frame counts; see `speakerlab.features`.
        encoder: feature batch and frame counts -> embeddings; see `speakerlab.encoders`.

    With `lengths=None` every sample counts and nothing is masked, which is how training calls it.
    """

    def __init__(self, features: nn.Module, encoder: nn.Module):
        super().__init__()
        self.features = features
        self.encoder = encoder
        self.embed_dim: int = encoder.embed_dim

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        features, frames = self.features(waveform, lengths)
        return self.encoder(features, frames)


@torch.inference_mode()
def embed_batches(
    network: nn.Module, batches: Iterable[dict[str, Tensor]], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Embed padded batches of utterances, in evaluation mode and float32; the mode is restored afterwards.

    Float32 whatever the training precision: a development EER during training is to the digit what an evaluation of
    the checkpoint gives.

    Args:
        network: waveforms and lengths -> embeddings.
        batches: `{"waveform", "length", "utterance"}` as `speakerlab.data.utterances.pad_utterances` gives them.
        device: where the network is.

    Returns:
        utterance indices `(utterances,)` and embeddings `(utterances, embed_dim)`, both on `device`.
    """
    modes = [(module, module.training) for module in network.modules()]  # a frozen batch norm keeps its own
    network.eval()
    indices, embeddings = [], []
    try:
        for batch in batches:
            with torch.autocast(device.type, enabled=False):
                embeddings.append(network(batch["waveform"].to(device), batch["length"].to(device)).float())
            indices.append(batch["utterance"].to(device))
    finally:
        for module, training in modes:
            module.training = training
    if not indices:  # a rank beyond the last batch
        return torch.zeros(0, dtype=torch.int64, device=device), torch.zeros(0, network.embed_dim, device=device)
    return torch.cat(indices), torch.cat(embeddings)


def in_order(indices: Tensor, embeddings: Tensor) -> np.ndarray:
    """`(utterances, embed_dim)` with row `i` for utterance `i`; one that is missing is NaN, which no scoring takes."""
    ordered = torch.full_like(embeddings, float("nan"))
    ordered[indices] = embeddings
    return ordered.cpu().numpy()
