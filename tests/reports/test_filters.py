"""What the figure shows, read from its artists, against the filters' own definition."""

import numpy as np
import pytest
import torch
from torch import nn

from speakerlab import InputError
from speakerlab.encoders.layers import sinc
from speakerlab.encoders.layers.sinc import SincBands
from speakerlab.reports.filters import bank, cumulative, filters_figure, mel, sinc_bands, write_filters

COUNT, RATE = 5, 16000


def learned() -> SincBands:
    bands = SincBands(COUNT, 251, RATE)
    with torch.no_grad():
        bands.low += torch.tensor([0.01, 0.0, 0.02, 0.0, -0.05])
        bands.width *= torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0])
    return bands


def test_a_filter_passes_its_band():
    one = bank(learned())
    frequency = np.linspace(0, RATE / 2, one.response.shape[1])
    for low, high, response in zip(one.low, one.high, one.response, strict=True):
        loud = frequency[response > 0.5 * response.max()]  # half of the amplitude: where the ideal filter's edges are
        assert loud.min() == pytest.approx(low, abs=10) and loud.max() == pytest.approx(min(high, 8000), abs=10)


def test_mel_is_the_scale_that_the_filters_begin_on():
    np.testing.assert_allclose(mel(np.array([0.0, 700.0, 8000.0])), [sinc.mel(hertz) for hertz in (0.0, 700.0, 8000.0)])


def test_cumulative_counts_filters_not_their_gain():
    first, second = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.0, 9.0, 9.0, 0.0])
    np.testing.assert_allclose(cumulative(np.stack([first, second])), [0.5, 1.0, 0.5, 0.0])


def test_the_figure_compares_start_and_now():
    bands = learned()
    before, after, edges, together = filters_figure(bands).axes
    start = bank(SincBands(COUNT, 251, RATE))
    assert len(before.lines) == len(after.lines) == COUNT
    assert max(line.get_ydata().max() for line in (*before.lines, *after.lines)) == 0.0
    for collection, one in zip(edges.collections, (start, bank(bands)), strict=True):
        drawn = np.array([segment[:, 1] for segment in collection.get_segments()])
        np.testing.assert_allclose(drawn, mel(np.stack([one.low, one.high], axis=1))[start.order])
    for line, one in zip(together.lines, (start, bank(bands)), strict=True):
        np.testing.assert_allclose(line.get_ydata(), cumulative(one.response))
    assert [line.get_label() for line in together.lines] == ["at the start", "learned"]
    assert after.get_xlim() == (0, mel(np.array(8000.0)))


def test_a_page_says_how_far_the_edges_moved(tmp_path):
    text = write_filters(tmp_path / "out", "Title", learned(), {"epochs": 3}).read_text()
    assert "5 of 251 taps at 16,000 Hz" in text and "800.0 Hz (at most)" in text  # 0.05 cycles a sample
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "filters.png", "filters.svg"}


def test_a_network_without_such_filters_is_refused():
    bands = learned()
    assert sinc_bands(nn.Sequential(nn.Linear(1, 1), nn.ModuleList([bands]))) is bands
    with pytest.raises(InputError, match="Linear learns no band edges"):
        sinc_bands(nn.Linear(1, 1))
