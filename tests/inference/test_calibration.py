"""A calibration in a checkpoint: what it says, that it is kept whole, and which scores it is for."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from speakerlab import InputError
from speakerlab.build import load_checkpoint
from speakerlab.cli.launch import compose
from speakerlab.data.trials import Trials
from speakerlab.inference import calibration
from speakerlab.inference.calibration import find_calibration, keep, kept_for, kept_in, learn, operating_thresholds
from speakerlab.inference.scoring import Scored
from speakerlab.scoring.calibration import train_calibration
from speakerlab.scoring.metrics import eer, error_rates, min_dcf


def evaluation(*changes: str):
    return compose("evaluate", ["ckpt=x", *changes])[0]


def development(seed: int = 0, measures: bool = False) -> tuple[Scored, Trials]:
    generator = np.random.default_rng(seed)
    labels = (generator.random(500) < 0.3).astype(np.int8)
    long = generator.uniform(0, 1, 500)
    scores = 0.2 * labels + 0.1 * generator.standard_normal(500) - 0.1 * long
    columns = {"duration_low": long} if measures else {}
    pairs = np.zeros((2, 500), np.int32)
    return Scored(scores, columns), Trials(labels, *pairs, ["u"], np.arange(500), "dev.txt")


@pytest.fixture
def checkpoint(tmp_path):
    contents = {
        "config": {"a": [1, {"b": None}]},
        "speakers": ["x", "y"],
        "state_dict": {"network.w": torch.arange(5.0)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3)}}}],
        "epoch": 7,
    }
    torch.save(contents, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def test_what_is_learned_is_what_the_parts_give():
    scored, trials = development(measures=True)
    cfg = evaluation("scoring.measures=[duration]")
    kept = learn(cfg.scoring, scored, trials.labels, "dev.txt")
    table = np.stack([scored.scores, scored.measures["duration_low"]], axis=1)
    assert kept.calibration == train_calibration(table, trials.labels, ("score", "duration_low"))
    rates = error_rates(scored.scores, trials.labels)
    assert kept.thresholds == {
        "eer": eer(rates)[1],
        "min_dcf_0.01": min_dcf(rates, 0.01)[1],
        "min_dcf_0.05": min_dcf(rates, 0.05)[1],
    }
    assert kept.llr_thresholds == operating_thresholds(kept.calibration.llrs(table), trials.labels)
    assert kept.trials == "dev.txt" and kept.recipe["measures"] == ["duration"] and "block_mb" not in kept.recipe


def test_the_checkpoint_keeps_it_beside_all_else(checkpoint, tmp_path):
    other = tmp_path / "epoch_007.ckpt"
    other.hardlink_to(checkpoint)  # as training names one checkpoint twice
    before = load_checkpoint(checkpoint)
    scored, trials = development()
    kept = learn(evaluation().scoring, scored, trials.labels, trials.source)
    keep(checkpoint, kept)
    after = load_checkpoint(checkpoint)
    assert kept_in(after) == kept and kept_in(before) is None
    assert torch.equal(after["state_dict"]["network.w"], torch.arange(5.0))
    assert {key: after[key] for key in ("config", "speakers", "epoch")} == {
        key: before[key] for key in ("config", "speakers", "epoch")
    }
    assert after["optimizer_states"][0]["state"][0]["step"] == 3
    assert kept_in(load_checkpoint(other)) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "epoch_007.ckpt"]


def test_a_write_that_fails_leaves_the_old_one(checkpoint, monkeypatch):
    before = checkpoint.read_bytes()
    scored, trials = development()
    kept = learn(evaluation().scoring, scored, trials.labels, trials.source)

    def half(contents, path):
        path.write_bytes(b"half")
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(calibration.torch, "save", half)
    with pytest.raises(InputError, match=r"best\.ckpt: the calibration can't be written into it \(\d+ MB are free"):
        keep(checkpoint, kept)
    assert checkpoint.read_bytes() == before and len(list(checkpoint.parent.iterdir())) == 1


def test_it_is_applied_to_scores_of_its_recipe_alone(checkpoint, caplog):
    scored, trials = development()
    keep(checkpoint, learn(evaluation("scoring=asnorm").scoring, scored, trials.labels, trials.source))
    contents = load_checkpoint(checkpoint)
    with caplog.at_level("INFO", "speakerlab"):
        assert kept_for(contents, evaluation("scoring=asnorm", "scoring.block_mb=7").scoring) is not None
        assert not caplog.messages
        assert kept_for(contents, evaluation("scoring=snorm").scoring) is None
        assert kept_for(contents, evaluation("scoring=asnorm", "scoring.cohort=/data").scoring) is None
    assert "of another recipe and not applied: scoring.top_n was 300 and is None" in caplog.messages[0]
    assert "scoring.cohort was None and is /data" in caplog.messages[1]


def test_what_an_evaluation_takes(checkpoint, caplog):
    scored, trials = development()
    with caplog.at_level("INFO", "speakerlab"):
        assert find_calibration(evaluation(), checkpoint, scored, trials) is None and not caplog.messages
        assert find_calibration(evaluation("scoring.measures=[duration]"), checkpoint, scored, trials) is None
    assert "scoring.measures=['duration'] has no effect without a calibration" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO", "speakerlab"):
        learned = find_calibration(evaluation("save_calibration=true"), checkpoint, scored, trials)
    assert "by these very trials" in caplog.text
    keep(checkpoint, learned)
    caplog.clear()
    fresh, others = development(seed=1)
    with caplog.at_level("INFO", "speakerlab"):
        assert find_calibration(evaluation(), checkpoint, fresh, others) == learned
    accepted = fresh.scores >= learned.thresholds["eer"]
    misses, alarms = np.mean(~accepted[others.labels == 1]), np.mean(accepted[others.labels == 0])
    assert f"misses {100 * misses:.2f} % of the targets here and accepts {100 * alarms:.2f} %" in caplog.text


def test_the_recipe_is_plain():
    """So that a checkpoint with it is still read as data alone."""
    recipe = calibration.recipe_of(evaluation("scoring=asnorm_quality").scoring)
    assert OmegaConf.to_container(OmegaConf.create(recipe)) == recipe
    assert type(recipe) is dict and type(recipe["measures"]) is list
