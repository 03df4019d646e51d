"""Center loss against differences one by one."""

import pytest
import torch

from speakerlab.losses.center import CenterLoss

DIM, SPEAKERS = 4, 6


def make() -> tuple[CenterLoss, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return CenterLoss(DIM, SPEAKERS), 2.0 * torch.randn(7, DIM), torch.tensor([0, 3, 3, 5, 1, 0, 3])


def test_it_matches_the_formula():
    loss, embeddings, speakers = make()
    x, centers = embeddings.tolist(), loss.centers.tolist()
    total = 0.0
    for row, speaker in zip(x, speakers.tolist()):
        for place in range(DIM):
            total += 0.5 * (row[place] - centers[speaker][place]) ** 2
    value, logits = loss(embeddings, speakers)
    assert value.item() == pytest.approx(total / len(x), rel=1e-5) and logits is None


def test_gradients():
    """Half a squared distance pulls with the difference itself."""
    loss, embeddings, speakers = make()
    embeddings.requires_grad_()
    loss(embeddings, speakers)[0].backward()
    differences = (embeddings - loss.centers[speakers]).detach() / len(speakers)
    torch.testing.assert_close(embeddings.grad, differences)
    for speaker in range(SPEAKERS):
        pulled = -differences[speakers == speaker].sum(dim=0)  # zero for those who are not in the batch
        torch.testing.assert_close(loss.centers.grad[speaker], pulled)
