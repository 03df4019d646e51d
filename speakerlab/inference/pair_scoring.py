"""Scores of trials by the pair MLP that a network was trained with: log-odds in place of cosines."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from speakerlab import InputError
from speakerlab.build import load_checkpoint, loss_from_checkpoint
from speakerlab.losses.pair_mlp import PairMlp

NUMBERS = 8  # of float32 that a pair takes for each of its dimensions and hidden units, at most


def load_pair_mlp(checkpoint: Path, embed_dim: int, trust: tuple[str, ...] = ()) -> PairMlp:
    """The checkpoint's, in evaluation mode.

    Raises:
        InputError: if it has none.
    """
    loss = loss_from_checkpoint(load_checkpoint(checkpoint), embed_dim, trust)
    found = next((module for module in loss.modules() if isinstance(module, PairMlp)), None)
    if found is None:
        raise InputError(
            f"scoring.backend=pair_mlp: {checkpoint} was trained with {type(loss).__name__} and has no pair MLP; train "
            "with loss=pair_mlp or loss=fusion, or take scoring=cosine"
        )
    return found


@torch.inference_mode()
def pair_scores(
    mlp: PairMlp, embeddings: NDArray[np.float32], enrol: NDArray, test: NDArray, block_bytes: int
) -> NDArray[np.float32]:
    """Log-odds that both utterances of each trial are of one speaker, `(trials,)`.

    Args:
        mlp: on the device where to compute.
        embeddings: `(utterances, embed_dim)`.
        enrol, test: `(trials,)`, rows of them.
        block_bytes: of memory that the work takes at a time, about; a trial at least.

    Raises:
        InputError: if an embedding is NaN or infinite.
    """
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(bad):
        raise InputError(f"{len(bad)} of {len(embeddings)} embeddings are NaN or infinite; the first is row {bad[0]}")
    device = next(mlp.parameters()).device
    units = embeddings.shape[1] + mlp.hidden.out_features
    step = max(1, block_bytes // (4 * NUMBERS * units))
    scores = np.empty(len(enrol), np.float32)
    for first in range(0, len(enrol), step):
        part = slice(first, first + step)
        sides = (torch.from_numpy(embeddings[rows[part]]).to(device) for rows in (enrol, test))
        scores[part] = mlp.log_odds(*sides).cpu().numpy()
    return scores
