"""Who belongs together in the batches of metric losses."""

import torch
from torch import Tensor


def by_speaker(embeddings: Tensor, speakers: Tensor, least: int = 2) -> Tensor:
    """`(batch, dim)` of a `speakers_x_utterances` batch -> `(speakers, utterances, dim)`.

    Such a batch has a speaker's utterances side by side, equally many of each. Where a file can't be read and its
    speaker has no other, the place is taken by someone else's utterance: the group that this breaks is left out.

    Raises:
        ValueError: if half of the batch is not made so, with `least` utterances a speaker or more.
    """
    places = speakers.cpu()
    for count in range(len(places), least - 1, -1):
        if len(places) % count == 0:
            labels = places.view(-1, count)  # (speakers, utterances)
            whole = (labels == labels[:, :1]).all(dim=1)
            if 2 * whole.sum() >= len(whole):
                return embeddings.view(*labels.shape, -1)[whole]
    raise ValueError(
        f"a metric loss needs equally many utterances of each speaker in a batch, {least} or more, side by side"
    )


def pairs(speakers: Tensor) -> tuple[Tensor, Tensor]:
    """Which items are of the same speaker as another, itself not counted, and which of different ones: two masks
    `(batch, batch)`.

    Raises:
        ValueError: if there are no pairs of either kind.
    """
    alike = speakers[:, None] == speakers
    same, different = alike & ~torch.eye(len(speakers), dtype=torch.bool, device=speakers.device), ~alike
    if not (same.any() and different.any()):
        raise ValueError("a metric loss needs two utterances of a speaker in a batch, and two speakers")
    return same, different
