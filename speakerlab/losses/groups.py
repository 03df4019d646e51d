"""The batches of metric losses: a speaker's utterances side by side, equally many of each."""

from torch import Tensor


def by_speaker(embeddings: Tensor, speakers: Tensor, least: int = 2) -> Tensor:
    """`(batch, dim)` of a `speakers_x_utterances` batch -> `(speakers, utterances, dim)`.

    Raises:
        ValueError: if the batch is not made so, or has less than `least` utterances a speaker.
    """
    count = int((speakers == speakers[0]).sum())
    if len(speakers) % count or (speakers.view(-1, count) != speakers[::count, None]).any():
        raise ValueError("a metric loss needs equally many utterances of each speaker, side by side in the batch")
    if count < least:
        raise ValueError(f"a batch has {count} utterances of each speaker; this loss compares {least} or more")
    return embeddings.view(-1, count, embeddings.shape[1])
