"""Trials scored by a checkpoint's pair MLP."""

import numpy as np
import pytest
import torch

from speakerlab import InputError
from speakerlab.build import build_loss
from speakerlab.inference.pair_scoring import load_pair_mlp, pair_scores
from speakerlab.losses.pair_mlp import PairMlp

DIM = 6
PAIRS = {"_target_": "speakerlab.losses.pair_mlp.PairMlp", "hidden": 5}
DECISION = {"_target_": "speakerlab.losses.decision_mlp.DecisionMlp", "hidden": 4}
BOTH = {
    "_target_": "speakerlab.losses.weighted_sum.WeightedSum",
    "losses": {"decision": DECISION, "pairs": PAIRS},
    "weights": {"decision": 1.0, "pairs": 0.5},
}
CENTER = {"weight": 0.1, "loss": {"_target_": "speakerlab.losses.center.CenterLoss"}}
EMBEDDINGS = np.random.default_rng(0).standard_normal((20, DIM)).astype(np.float32)
ENROL, TEST = np.random.default_rng(1).integers(0, 20, (2, 150))


def save(path, loss: dict, regulariser: dict):
    config = {"loss": loss, "regulariser": regulariser}
    torch.manual_seed(0)
    made = build_loss(config, DIM, 3)
    weights = {f"loss.{name}": value for name, value in made.state_dict().items()}
    torch.save({"config": config, "speakers": ["a", "b", "c"], "state_dict": weights}, path)
    return made


@pytest.mark.parametrize("loss", [PAIRS, BOTH], ids=["alone", "in a sum"])
@pytest.mark.parametrize("regulariser", [{"loss": None}, CENTER], ids=["", "regularised"])
def test_the_checkpoints_mlp_decides(tmp_path, loss, regulariser):
    """A pair at a time, through the trained module itself, without its dropout."""
    made = save(tmp_path / "best.ckpt", loss, regulariser)
    (expected,) = (module for module in made.eval().modules() if isinstance(module, PairMlp))
    mlp = load_pair_mlp(tmp_path / "best.ckpt", DIM)
    found = pair_scores(mlp, EMBEDDINGS, ENROL, TEST, block_bytes=2**20)
    for trial, (one, other) in enumerate(zip(ENROL, TEST, strict=True)):
        first, second = (torch.from_numpy(EMBEDDINGS[row : row + 1]) for row in (one, other))
        assert found[trial] == pytest.approx(expected.log_odds(first, second).item(), rel=1e-4, abs=1e-5)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, pair_scores(mlp, EMBEDDINGS, TEST, ENROL, block_bytes=2**20))


def test_blocks_of_bounded_memory(monkeypatch):
    """No more pairs at once than the bytes hold; the same scores."""
    mlp, seen = PairMlp(DIM, 3, hidden=5).eval(), []
    whole = pair_scores(mlp, EMBEDDINGS, ENROL, TEST, block_bytes=2**20)
    ask = mlp.log_odds
    monkeypatch.setattr(mlp, "log_odds", lambda first, second: seen.append(len(first)) or ask(first, second))
    for block_bytes, most in ((1, 1), (32 * (DIM + 5) * 7, 7), (2**20, 150)):
        seen.clear()
        np.testing.assert_allclose(pair_scores(mlp, EMBEDDINGS, ENROL, TEST, block_bytes), whole, atol=1e-6)
        assert max(seen) == most and sum(seen) == 150


def test_a_checkpoint_without_one_is_refused(tmp_path):
    save(tmp_path / "best.ckpt", DECISION, {"loss": None})
    with pytest.raises(
        InputError, match=r"best\.ckpt was trained with DecisionMlp and has no pair MLP; train with loss="
    ):
        load_pair_mlp(tmp_path / "best.ckpt", DIM)


def test_diverged_embeddings_are_refused():
    rows = EMBEDDINGS.copy()
    rows[3, 2] = np.nan
    with pytest.raises(InputError, match="1 of 20 embeddings are NaN or infinite; the first is row 3"):
        pair_scores(PairMlp(DIM, 3), rows, ENROL, TEST, 2**20)
