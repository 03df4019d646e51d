"""The picture of a recording: what is in it, and how large it is."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from speakerlab.reports.recording import INK, MOST_COLUMNS, envelope, recording_svg, thinned_frames


def test_envelope_is_that_of_each_column():
    waveform = np.random.default_rng(0).uniform(-1, 1, 10_007).astype(np.float32)
    places, low, high = envelope(waveform, 100)
    edges = [i * 10_007 // 100 for i in range(101)]
    parts = [waveform[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    np.testing.assert_allclose(places, np.array(edges[:-1]) / 10_007)
    assert low.tolist() == [part.min() for part in parts] and high.tolist() == [part.max() for part in parts]
    assert [len(part) for part in envelope(waveform[:7], 100)] == [7, 7, 7]


def test_frames_become_means_of_neighbours():
    frames = np.arange(10.0).reshape(5, 2)
    assert thinned_frames(frames, 5) is frames
    np.testing.assert_allclose(thinned_frames(frames, 2), [[1.0, 2.0], [6.0, 7.0]])  # frames 0-1 and 2-4
    np.testing.assert_allclose(thinned_frames(frames[:, 0], 2), [1.0, 6.0])


def test_an_svg_in_the_colour_of_the_text():
    generator = np.random.default_rng(0)
    waveform = generator.uniform(-0.1, 0.1, 30 * 16000).astype(np.float32)
    picture, weights = generator.normal(size=(3000, 64)), generator.uniform(0, 2, 3000)
    plain = recording_svg(waveform, 16000, picture, None, 0.0)
    attended = recording_svg(waveform, 16000, picture, weights, 30.0)
    for text in (plain, attended):
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg") and "currentColor" in text and INK not in text
        assert len(text) < 600_000
    assert "#00e5ff" in attended and "#00e5ff" not in plain
    assert MOST_COLUMNS < 3000


def test_silence_and_a_moment_can_be_drawn():
    short = np.full(1600, 1e-6, np.float32)
    assert recording_svg(short, 16000, np.full((8, 64), -100.0), np.ones(8), 0.08).startswith("<svg")
