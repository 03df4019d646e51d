import pickle

import numpy as np
import torch
from torch.utils.data import default_collate

from speakerlab.augment.chain import Chain
from speakerlab.augment.noise import AdditiveNoise
from speakerlab.augment.reverb import Reverb
from speakerlab.augment.specaugment import SpecAugment

SAMPLES = 4000


def read_ramp(path, first, count):
    return np.linspace(-1, 1, count, dtype=np.float32)


def noise():
    return AdditiveNoise("noise", [("a", 9000, 16000)], read_ramp, [0, 15], 0.5)


def reverb():
    return Reverb("rooms", [("b", 900, 16000)], read_ramp, 0.5, 0.05)


def assert_same(left, right):
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key], right[key])


def test_an_empty_chain_changes_nothing():
    x = torch.randn(2, SAMPLES)
    assert Chain({}).draw([0, 0, 0], SAMPLES) == {}
    assert torch.equal(Chain({}).apply(x, {}), x)


def test_augmentations_run_in_the_order_given():
    class Scale:
        def draw(self, generator, samples):
            return {"by": np.array(2.0, np.float32)}

        def apply(self, x, drawn):
            return x * drawn["by"][:, None]

    class Shift(Scale):
        def apply(self, x, drawn):
            return x + drawn["by"][:, None]

    x = torch.ones(3, 4)
    for chain, expected in ((Chain({"a": Scale(), "b": Shift()}), 4.0), (Chain({"b": Shift(), "a": Scale()}), 6.0)):
        drawn = default_collate([chain.draw([0, i], 4) for i in range(3)])
        assert torch.equal(chain.apply(x, drawn), torch.full((3, 4), expected))


def test_adding_or_moving_one_leaves_the_draws_of_the_others():
    alone = Chain({"noise": noise()})
    joined = Chain({"spec": SpecAugment(), "reverb": reverb(), "noise": noise()})
    for position in range(20):
        seed = [1, 2, position]
        assert_same(alone.draw(seed, SAMPLES)["noise"], joined.draw(seed, SAMPLES)["noise"])


def test_two_of_a_kind_draw_independently():
    snr_db = np.array(
        [
            [drawn["noise"]["snr_db"], drawn["music"]["snr_db"]]
            for drawn in (Chain({"noise": noise(), "music": noise()}).draw([0, i], 8) for i in range(400))
        ]
    )
    applied = np.isfinite(snr_db)
    assert 60 < applied.all(axis=1).sum() < 140  # a quarter: neither always nor never together
    assert (snr_db[applied.all(axis=1), 0] != snr_db[applied.all(axis=1), 1]).all()


def test_every_part_of_the_seed_counts_and_the_same_seed_repeats():
    chain = Chain({"spec": SpecAugment()})
    seeds = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    draws = [chain.draw(seed, SAMPLES)["spec"] for seed in seeds]
    assert len({draw["time"].tobytes() for draw in draws}) == len(seeds)
    for seed, draw in zip(seeds, draws, strict=True):
        assert_same(chain.draw(np.array(seed), SAMPLES)["spec"], draw)


def test_draws_are_the_same_on_every_machine_and_in_every_process():
    """Pinned, so that a change of the seeding or of NumPy's streams doesn't pass unseen."""
    drawn = Chain({"spec": SpecAugment()}).draw([1, 2, 3], SAMPLES)["spec"]
    np.testing.assert_allclose(drawn["time"], [[0.8154413, 0.6982985]], rtol=1e-6)


def test_draws_collate_and_apply_whether_or_not_they_do_anything():
    chain = Chain({"reverb": reverb(), "noise": noise()})
    drawn = default_collate([chain.draw([0, 0, i], SAMPLES) for i in range(12)])
    assert drawn["noise"]["noise"].shape == (12, SAMPLES) and drawn["noise"]["snr_db"].shape == (12,)
    x = torch.randn(12, SAMPLES, generator=torch.Generator().manual_seed(0))
    together = chain.apply(x, drawn)
    assert together.shape == x.shape and together.isfinite().all()
    for i in (0, 5):
        alone = chain.apply(x[i : i + 1], default_collate([chain.draw([0, 0, i], SAMPLES)]))
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)


def test_a_pickled_copy_draws_the_same():
    chain = Chain({"reverb": reverb(), "noise": noise()})
    copy = pickle.loads(pickle.dumps(chain))
    assert_same(copy.draw([7], SAMPLES)["reverb"], chain.draw([7], SAMPLES)["reverb"])
