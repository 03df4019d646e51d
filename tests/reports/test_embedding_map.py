import numpy as np
import pytest

from speakerlab.reports.embedding_map import Sample, map_figure, map_of


@pytest.fixture(scope="module")
def sample() -> Sample:
    generator = np.random.default_rng(0)
    speakers = np.repeat([f"s{i}" for i in range(8)], 6)
    centres = generator.normal(size=(8, 16))
    # Far apart in angle, whatever their lengths.
    embeddings = (np.repeat(centres, 6, axis=0) + 0.2 * generator.normal(size=(48, 16))) * generator.uniform(
        0.1, 10, (48, 1)
    )
    return Sample(embeddings.astype(np.float32), speakers)


def test_neighbours_are_of_the_same_speaker(sample):
    places = map_of(sample.embeddings)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + np.diag(np.full(48, np.inf))
    assert np.mean(sample.speakers[distances.argmin(axis=1)] == sample.speakers) == 1.0
    np.testing.assert_array_equal(places, map_of(sample.embeddings))  # the same picture each time


def test_each_speaker_has_a_look_of_its_own(sample):
    figure = map_figure(sample)
    (axes,) = figure.axes
    looks = {(tuple(one.get_facecolor()[0]), len(one.get_paths()[0].vertices)) for one in axes.collections}
    assert len(looks) == 8 and [one.get_label() for one in axes.collections] == [f"s{i}" for i in range(8)]
    assert all(len(one.get_offsets()) == 6 for one in axes.collections)
    assert len(figure.legends[0].get_texts()) == 8


def test_too_little_makes_no_map(sample):
    assert map_figure(Sample(sample.embeddings[:9], sample.speakers[:9])) is None
    assert map_figure(Sample(sample.embeddings[:12], np.array(["one"] * 12))) is None
    assert map_figure(Sample(sample.embeddings[:30], np.arange(30).astype(str))) is None
