"""The MLP that decides on pairs, against all pairs one by one in float64 NumPy."""

import math

import numpy as np
import pytest
import torch

from speakerlab.losses.pair_mlp import PairMlp

DIM = 5
SPEAKERS = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0, 3])  # in any order, and one alone


def items(seed: int = 0) -> torch.Tensor:
    return 2.0 * torch.randn(len(SPEAKERS), DIM, generator=torch.Generator().manual_seed(seed))


def made(**settings) -> PairMlp:
    torch.manual_seed(4)
    return PairMlp(DIM, 4, hidden=7, **settings).eval()


def unit(x: np.ndarray) -> np.ndarray:
    return x / math.sqrt(float(x @ x))


def naive_odds(loss: PairMlp, first: np.ndarray, second: np.ndarray) -> float:
    """Of one pair."""
    first, second = (math.sqrt(DIM) * unit(x) for x in (first, second))
    given = [abs(a - b) for a, b in zip(first, second, strict=True)] + [a * b for a, b in zip(first, second)]
    weight, bias, out, offset = (parameter.detach().double().numpy() for parameter in loss.parameters())
    hidden = [max(0.0, float(row @ given) + one) for row, one in zip(weight, bias, strict=True)]
    return float(out[0] @ hidden + offset[0])


def naive(loss: PairMlp, embeddings: torch.Tensor, hardest_share: float) -> float:
    """Each pair's -ln of the probability of what is true."""
    x = embeddings.double().numpy()
    together, apart = [], []
    for i in range(len(x)):
        for j in range(i):
            odds = naive_odds(loss, x[i], x[j])
            if SPEAKERS[i] == SPEAKERS[j]:
                together.append(math.log1p(math.exp(-odds)))
            else:
                apart.append((float(unit(x[i]) @ unit(x[j])), math.log1p(math.exp(odds))))
    apart = [value for _, value in sorted(apart, reverse=True)][: math.ceil(hardest_share * len(apart))]
    return float(np.mean(together) + np.mean(apart)) / 2.0


@pytest.mark.parametrize("hardest_share", [0.01, 0.3, 1.0])
def test_it_matches_the_formula(hardest_share):
    loss = made(hardest_share=hardest_share)
    for seed in range(3):
        value, logits = loss(items(seed), SPEAKERS)
        assert value.item() == pytest.approx(naive(loss, items(seed), hardest_share), rel=1e-5) and logits is None


def test_the_odds_of_pairs():
    loss, x = made(), items()
    first, second = torch.tensor([0, 3, 8, 2]), torch.tensor([1, 0, 8, 7])
    expected = [naive_odds(loss, x[i].double().numpy(), x[j].double().numpy()) for i, j in zip(first, second)]
    found = loss.log_odds(x[first], x[second])
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss.log_odds(x[first], x[second]), found)


def test_the_order_and_the_lengths_of_the_two_do_not_count():
    loss, x, y = made(), items(0), items(1)
    assert torch.equal(loss.log_odds(x, y), loss.log_odds(y, x))
    torch.testing.assert_close(loss.log_odds(3.0 * x, 0.1 * y), loss.log_odds(x, y))


def test_both_kinds_weigh_the_same_however_many_there_are():
    """Speaker 2 said again and again: the best constant answer stays even odds."""
    loss = made()
    with torch.no_grad():
        loss.out.weight.zero_()
    for speakers in (SPEAKERS, torch.tensor([0, 0, 1, 2, 3, 4, 5, 6, 7]), torch.tensor([0] * 8 + [1])):
        value, _ = loss(items(), speakers)
        (slope,) = torch.autograd.grad(value, loss.out.bias)
        odds = torch.sigmoid(loss.out.bias)
        torch.testing.assert_close(slope, odds - 0.5)


def test_it_learns_to_give_the_odds_of_what_it_sees():
    """Of further pairs of noisy speakers, both kinds as often: what is given 70 % is right 70 % of the time."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, DIM, generator=generator)

    def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        speakers = torch.randperm(40, generator=generator)[:16].repeat_interleave(2)
        return centres[speakers] + 1.2 * torch.randn(len(speakers), DIM, generator=generator), speakers

    torch.manual_seed(0)
    loss = PairMlp(DIM, 40, hidden=32, dropout=0.0)
    optimizer = torch.optim.Adam(loss.parameters(), lr=3e-3)
    for step in range(400):
        optimizer.zero_grad()
        loss(*drawn(step))[0].backward()
        optimizer.step()
    odds, weights, truth = [], [], []
    with torch.no_grad():
        for seed in range(1000, 1080):
            x, speakers = drawn(seed)
            first, second = torch.triu_indices(len(x), len(x), 1)
            same = speakers[first] == speakers[second]
            odds.append(loss.log_odds(x[first], x[second]).sigmoid())
            weights.append(torch.where(same, 1.0 / same.sum(), 1.0 / (~same).sum()))
            truth.append(same)
    odds, weights, truth = (torch.cat(parts) for parts in (odds, weights, truth))
    for low in (0.1, 0.3, 0.5, 0.7):
        inside = (odds >= low) & (odds < low + 0.2)
        share = weights[inside & truth].sum() / weights[inside].sum()
        assert share == pytest.approx(float(odds[inside].mean()), abs=0.08), low


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"hidden": 0}, "hidden=0 must be at least 1"),
        ({"dropout": 1.0}, "dropout=1.0 must lie in 0 to 1, without 1"),
        ({"hardest_share": 0.0}, "hardest_share=0.0 must lie above 0, to 1"),
        ({"hardest_share": 1.5}, "hardest_share=1.5 must lie above 0, to 1"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PairMlp(DIM, 4, **arguments)


def test_a_batch_without_pairs_is_refused():
    with pytest.raises(ValueError, match="two utterances of a speaker in a batch, and two speakers"):
        made()(items(), torch.arange(len(SPEAKERS)))
