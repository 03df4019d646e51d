"""The rate that a range test suggests, and trials of real trainings."""

import math

import numpy as np
import pytest
import torch

from speakerlab import InputError
from speakerlab.build import build_corpus
from speakerlab.config import check
from speakerlab.training.assembly import build_datamodule, build_system
from speakerlab.training.finding import batch_sizes, range_test, size_key, smoothed, steepest

TINY = (
    "model.encoder.channels=16",
    "model.encoder.pooled_channels=24",
    "model.encoder.embed_dim=8",
    "features.num_mels=8",
    "loader.crop_seconds=0.3",
    "loader.num_workers=0",
    "trainer=cpu",
    "trainer.precision=32-true",
)


def test_smoothing_is_a_weighted_mean_of_the_past():
    losses = np.random.default_rng(0).random(30).tolist()
    for step, value in enumerate(smoothed(losses)):
        weights = 0.9 ** np.arange(step, -1, -1)
        assert value == pytest.approx(np.sum(weights * losses[: step + 1]) / weights.sum())


@pytest.mark.parametrize("centre", [-4.0, -2.5])
def test_the_steepest_fall_is_found(centre):
    """A loss that falls as a sigmoid of the rate's logarithm, and then grows."""
    exponents = np.linspace(-6, 0, 121)
    losses = 5 - 3 / (1 + np.exp(-4 * (exponents - centre))) + np.exp(5 * (exponents + 0.8))
    assert math.log10(steepest((10**exponents).tolist(), losses.tolist())) == pytest.approx(centre, abs=0.06)


def test_a_loss_that_never_falls_gives_its_lowest():
    rates = (10 ** np.linspace(-6, 0, 50)).tolist()
    assert steepest(rates, np.linspace(1, 2, 50).tolist()) == rates[0]


@pytest.fixture
def composed(compose):
    def make(*overrides: str):
        cfg, choices = compose(*TINY, *overrides)
        cfg = check(cfg, "train", choices)
        return cfg, build_corpus(cfg)

    return make


def test_the_rate_rises_exponentially_and_the_loss_falls(composed):
    cfg, corpus = composed("sampler.batch_size=32")
    found = range_test(cfg, corpus, 1e-5, 10.0, 45)  # more steps than an epoch has
    steps = np.diff(np.log(found.rates))
    assert found.rates[0] == pytest.approx(1e-5) and steps == pytest.approx(np.full(len(steps), math.log(1e6) / 45))
    assert 1e-5 < found.suggested < 1.0 and min(found.losses) < found.losses[0]


def test_weights_to_start_from_are_taken(composed, tmp_path):
    """Of a classifier whose rows are all alike, so that nobody is likelier than another."""
    cfg, corpus = composed("sampler.batch_size=32")
    system = build_system(cfg, build_datamodule(cfg, corpus))
    torch.nn.init.ones_(system.loss.classifier.weight)
    contents = {"config": {}, "speakers": system.speakers, "state_dict": system.state_dict()}
    torch.save(contents, tmp_path / "start.ckpt")
    started = [
        "sampler.batch_size=32",
        f"fine_tuning.ckpt={tmp_path / 'start.ckpt'}",
        "fine_tuning.load=[network,loss]",
    ]
    found = range_test(*composed(*started), 1e-9, 1e-8, 12)
    assert found.losses == pytest.approx([math.log(len(system.speakers))] * 12, rel=1e-3)
    assert range_test(cfg, corpus, 1e-9, 1e-8, 12).losses[0] > found.losses[0] + 0.05


def test_batches_double(composed):
    cfg, corpus = composed("sampler.batch_size=64")
    fits = list(batch_sizes(cfg, corpus, 32))
    assert [fit.size for fit in fits] == [8, 16, 32]
    assert all(fit.items_per_second > 1 and 1e8 < fit.memory < 1e11 for fit in fits)


def test_what_stops_any_batch_is_no_lack_of_memory(composed):
    cfg, corpus = composed("loss=triplet", "sampler.utterances_per_speaker=99")
    with pytest.raises(InputError, match=r"sampler\.utterances_per_speaker=99: no speaker has so many"):
        next(batch_sizes(cfg, corpus, 32))


def test_what_a_sampler_grows_by(composed):
    assert size_key(composed("sampler=speakers_x_utterances")[0]) == "speakers_per_batch"
    with pytest.raises(InputError, match="choose another sampler"):
        size_key(composed("sampler=hard_speakers")[0])
