"""What turns a waveform into a speaker embedding: features and an encoder, or several of such pairs and their fusion.

Both kinds of network are handled alike: `branches` are the pairs by name, one without a name in a network that is one;
`encoders` is all that turns features into the embedding; `fuse` makes it of the branches' embeddings.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from speakerlab import InputError
from speakerlab.losses.weighted_sum import logits_of
from speakerlab.scoring.identification import Guesses, guesses_of

CLASSIFIED_AT_ONCE = 1024  # utterances
Change = Callable[[Tensor], Tensor]  # of features


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
        self.compiled: Callable | None = None

    @property
    def branches(self) -> dict[str, "SpeakerNetwork"]:
        return {"": self}

    @property
    def encoders(self) -> list[nn.Module]:
        return [self.encoder]

    def forward(self, waveform: Tensor, lengths: Tensor | None = None, change: Change | None = None) -> Tensor:
        """`change` is done to the features, such as masking in training."""
        features, frames = self.features(waveform, lengths)
        if change is not None:
            features = change(features)
        # Only in training: whole utterances go through the encoder eagerly, since each length would compile anew.
        encode = self.encoder if self.compiled is None or not self.training else self.compiled
        return encode(features, frames)

    def fuse(self, parts: list[Tensor | None]) -> Tensor:
        (embeddings,) = parts
        return embeddings

    def leave_out(self) -> None:
        """Keep the place of features and encoder, without their weights: saved embeddings are all that will come."""
        self.features, self.encoder = LeftOut(self.embed_dim), LeftOut(self.embed_dim)

    def compile_encoders(self) -> None:
        """From now on, the encoder of a training step is a compiled one."""
        # The method and not the module, which would be registered twice.
        self.compiled = torch.compile(self.encoder.forward)

    def run_eagerly(self) -> None:
        """Undo `compile_encoders`."""
        self.compiled = None


class LeftOut(nn.Module):
    """In place of features and of an encoder, where embeddings are saved.

    Args:
        embed_dim: of these.
    """

    def __init__(self, embed_dim: int):
        super().__init__()
        self.embed_dim = embed_dim

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        raise InputError("this branch's network was left out: it is known by its saved embeddings alone")


def left_out(network: "SpeakerNetwork | FusionNetwork") -> dict[str, int]:
    """The branches without a network, and the size of their embeddings."""
    encoders = {name: branch.encoder for name, branch in network.branches.items()}
    return {name: encoder.embed_dim for name, encoder in encoders.items() if isinstance(encoder, LeftOut)}


class FusionNetwork(nn.Module):
    """`(batch, samples)` in [-1, 1], sample counts `(batch,)` or None `-> (batch, embed_dim)`, by several networks.

    Args:
        branches: by name, in order.
        fusion: embeddings `(batch, dim)` of the branches, None for a missing one, -> one; see `speakerlab.fusion`.
    """

    def __init__(self, branches: Mapping[str, SpeakerNetwork], fusion: nn.Module):
        super().__init__()
        self.branches = nn.ModuleDict(branches)
        self.fusion = fusion
        self.embed_dim: int = fusion.embed_dim

    @property
    def encoders(self) -> list[nn.Module]:
        return [*(branch.encoder for branch in self.branches.values()), self.fusion]

    def forward(self, waveform: Tensor, lengths: Tensor | None = None, change: Change | None = None) -> Tensor:
        """`change` is done to the features of each branch."""
        return self.fuse([branch(waveform, lengths, change) for branch in self.branches.values()])

    def fuse(self, parts: list[Tensor | None]) -> Tensor:
        """Embeddings `(batch, dim)` of the branches in their order, None for a missing one `-> (batch, embed_dim)`."""
        return self.fusion(parts)

    def compile_encoders(self) -> None:
        """As of a single network, for each branch."""
        for branch in self.branches.values():
            branch.compile_encoders()

    def run_eagerly(self) -> None:
        """As of a single network, for each branch."""
        for branch in self.branches.values():
            branch.run_eagerly()


@torch.inference_mode()
def embed_batches(
    network: nn.Module, batches: Iterable[dict], device: torch.device, autocast: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Embed padded batches of utterances, in evaluation mode and float32; the mode is restored afterwards.

    Float32 whatever the training precision: a development EER during training is to the digit what an evaluation of
    the checkpoint gives.

    Args:
        network: waveforms and lengths -> embeddings; a fusion's `fuse`, embeddings of its branches -> embeddings.
        batches: `{"waveform", "length", "utterance"}` as `speakerlab.data.utterances.pad_utterances` gives them, or
            `{"embeddings", "utterance"}` with `[(batch, dim), ...]` of the branches.
        device: where the network is.
        autocast: another type to multiply in, as training may.

    Returns:
        utterance indices `(utterances,)` and embeddings `(utterances, embed_dim)`, both on `device`.
    """
    modes = [(module, module.training) for module in network.modules()]  # a frozen batch norm keeps its own
    network.eval()
    indices, embeddings = [], []
    try:
        for batch in batches:
            with torch.autocast(device.type, autocast, enabled=autocast is not None):
                embeddings.append(_embedded(network, batch, device).float())
            indices.append(batch["utterance"].to(device))
    finally:
        for module, training in modes:
            module.training = training
    if not indices:  # a rank beyond the last batch
        return torch.zeros(0, dtype=torch.int64, device=device), torch.zeros(0, network.embed_dim, device=device)
    return torch.cat(indices), torch.cat(embeddings)


def _embedded(network: nn.Module, batch: dict, device: torch.device) -> Tensor:
    if "embeddings" in batch:
        return network.fuse([part.to(device) for part in batch["embeddings"]])
    return network(batch["waveform"].to(device), batch["length"].to(device))


def in_order(indices: Tensor, embeddings: Tensor) -> np.ndarray:
    """`(utterances, embed_dim)` with row `i` for utterance `i`; one that is missing is NaN, which no scoring takes."""
    ordered = torch.full_like(embeddings, float("nan"))
    ordered[indices] = embeddings
    return ordered.cpu().numpy()


@torch.inference_mode()
def classify(
    loss: nn.Module, embeddings: np.ndarray, speakers: np.ndarray, classes: int, device: torch.device
) -> Guesses:
    """What a loss's logits without margin say of embeddings, in evaluation mode and float32.

    Args:
        loss: `(embeddings, speakers) -> loss, logits`; see `speakerlab.losses`.
        embeddings: `(utterances, embed_dim)`.
        speakers: `(utterances,)` true classes.
        classes: how many speakers there are; logits beyond are of the voices that speed perturbation made.
        device: where the loss is.

    Raises:
        InputError: if the loss gives no logits.
    """
    if not len(embeddings):  # a rank beyond the last utterance
        return guesses_of(np.zeros((0, classes)), speakers)
    modes = [(module, module.training) for module in loss.modules()]
    loss.eval()
    parts = []
    try:
        for first in range(0, len(embeddings), CLASSIFIED_AT_ONCE):
            part = slice(first, first + CLASSIFIED_AT_ONCE)
            with torch.autocast(device.type, enabled=False):
                logits = logits_of(loss, *(torch.from_numpy(rows[part]).to(device) for rows in (embeddings, speakers)))
            if logits is None:
                raise InputError(f"the loss {type(loss).__name__} gives no logits to identify speakers by")
            parts.append(guesses_of(logits[:, :classes].float().cpu().numpy(), speakers[part]))
    finally:
        for module, training in modes:
            module.training = training
    return Guesses(*(np.concatenate(column) for column in zip(*parts, strict=True)))
