"""A share of the training data: the same of every speaker, the same every time, and more of it holds less of it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speakerlab.data.fraction import check_fraction, fraction_of_shards, fraction_rows
from speakerlab.data.shards.index import Shard, ShardIndex
from speakerlab.shipped import CONF

CLASSES = np.random.default_rng(0).integers(0, 7, 500)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.01, 1.0), st.integers(0, 5))
def test_every_speaker_keeps_the_same_share(speakers, fraction, seed):
    names = {name: number for number, name in enumerate(dict.fromkeys(speakers))}
    classes = np.array([names[name] for name in speakers])
    rows = fraction_rows(classes, fraction, seed)
    assert (np.diff(rows) > 0).all()
    had, has = Counter(classes.tolist()), Counter(classes[rows].tolist())
    for speaker, count in had.items():
        assert has[speaker] == max(round(fraction * count), min(count, 2))


def test_what_is_kept_is_nested_seeded_and_spread():
    small, large = fraction_rows(CLASSES, 0.2, 1), fraction_rows(CLASSES, 0.6, 1)
    assert set(small.tolist()) < set(large.tolist())
    np.testing.assert_array_equal(small, fraction_rows(CLASSES, 0.2, 1))
    assert set(small.tolist()) != set(fraction_rows(CLASSES, 0.2, 2).tolist())
    # Each row is as likely as any other: over many seeds, the hypergeometric's mean within four deviations.
    times = np.zeros(500)
    for seed in range(200):
        times[fraction_rows(CLASSES, 0.5, seed)] += 1
    assert abs(times - 100).max() < 4 * np.sqrt(200 * 0.25) + 10


def test_all_of_it_is_all_of_it():
    np.testing.assert_array_equal(fraction_rows(CLASSES, 1.0, 3), np.arange(500))


def test_shards_are_taken_whole():
    shards = tuple(Shard(f"{number}.tar", items=number + 1, bytes=9) for number in range(10))
    index = ShardIndex("/x", shards, {"a": 30, "b": 25})
    third = fraction_of_shards(index, 0.3, 1)
    assert len(third.shards) == 3 and set(third.shards) < set(shards)
    assert list(third.speakers) == ["a", "b"] and len(third) == sum(shard.items for shard in third.shards)
    assert set(third.shards) < set(fraction_of_shards(index, 0.8, 1).shards)
    assert len(fraction_of_shards(index, 0.01, 1).shards) == 1


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5, float("nan")])
def test_no_such_share(fraction):
    with pytest.raises(ValueError, match=r"fraction=.* must lie above 0"):
        check_fraction(fraction)


@pytest.mark.parametrize("data", sorted(path.stem for path in Path(CONF / "data").glob("*.yaml")))
def test_every_corpus_takes_a_fraction(compose, data):
    cfg, _ = compose(f"data={data}", "data.fraction=0.25")
    assert cfg.data.fraction == 0.25
