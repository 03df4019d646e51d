"""Groups and pairs of small batches, by hand."""

import pytest
import torch

from speakerlab.losses.groups import by_speaker, pairs


def grouped(speakers: list[int], least: int = 2) -> list[list[int]]:
    """Places in the batch, a list a group."""
    places = torch.arange(float(len(speakers)))[:, None].repeat(1, 3)  # (batch, 3)
    found = by_speaker(places, torch.tensor(speakers), least)
    assert found.shape[2] == 3 and torch.equal(found[..., 0], found[..., 2])
    return found[..., 0].int().tolist()


@pytest.mark.parametrize(
    "speakers, expected",
    [
        ([4, 4, 0, 0, 7, 7], [[0, 1], [2, 3], [4, 5]]),
        ([4, 4, 4, 0, 0, 0], [[0, 1, 2], [3, 4, 5]]),
        ([1, 1], [[0, 1]]),
        # Someone else's utterance in the place of one that could not be read.
        ([4, 4, 0, 9, 7, 7], [[0, 1], [4, 5]]),
        ([0, 9, 4, 4, 7, 7], [[2, 3], [4, 5]]),
        ([4, 4, 9, 0, 7, 7], [[0, 1], [4, 5]]),
        ([4, 4, 7, 0, 7, 7], [[0, 1], [4, 5]]),
        ([4, 4, 4, 0, 0, 4, 7, 7, 7], [[0, 1, 2], [6, 7, 8]]),
        ([4, 4, 4, 4, 0, 0, 7, 7, 7], [[0, 1, 2], [6, 7, 8]]),
        ([4, 4, 0, 9], [[0, 1]]),
    ],
)
def test_groups(speakers, expected):
    assert grouped(speakers) == expected


@pytest.mark.parametrize(
    "speakers, least",
    [
        ([0, 1, 2, 3], 2),
        ([0, 1, 0, 1], 2),
        ([0, 0, 1, 1], 3),
        ([0, 0, 1, 1, 2], 2),
        ([0, 1, 1, 0, 2, 2, 3, 4], 2),
    ],
)
def test_other_batches_are_refused(speakers, least):
    with pytest.raises(ValueError, match=f"equally many utterances of each speaker in a batch, {least} or more, side"):
        grouped(speakers, least)


def test_gradients_go_to_their_own_places():
    embeddings = torch.randn(6, 4, requires_grad=True)
    weights = torch.arange(24.0).view(3, 2, 4)
    (by_speaker(embeddings, torch.tensor([2, 2, 0, 0, 1, 1])) * weights).sum().backward()
    assert torch.equal(embeddings.grad, weights.view(6, 4))


def test_pairs():
    speakers = [3, 1, 3, 0, 1, 3]
    same, different = pairs(torch.tensor(speakers))
    for i, first in enumerate(speakers):
        for j, second in enumerate(speakers):
            assert same[i, j] == (i != j and first == second)
            assert different[i, j] == (first != second)


@pytest.mark.parametrize("speakers", [[0, 1, 2], [1, 1, 1], [0]])
def test_batches_without_pairs_are_refused(speakers):
    with pytest.raises(ValueError, match="two utterances of a speaker in a batch, and two speakers"):
        pairs(torch.tensor(speakers))
