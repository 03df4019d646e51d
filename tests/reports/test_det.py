"""What the figures show, read back from their lines."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy.special import ndtri

from speakerlab import InputError
from speakerlab.reports.curves import read_metrics, training_curves
from speakerlab.reports.det import CELL, OUTSIDE, det_figure, det_limits, det_line
from speakerlab.reports.figure import figure_image, save_figure
from speakerlab.reports.histogram import histogram_figure
from speakerlab.scoring.metrics import eer, error_rates, min_dcf, min_dcf_point


def make_rates(trials, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.append([0, 1], rng.integers(0, 2, trials - 2))
    return error_rates(rng.normal(size=trials) + 2 * labels, labels)


def lines_of(figure, marker, label=""):
    lines = figure.axes[0].lines
    return [line for line in lines if line.get_marker() == marker and label in line.get_label()]


def test_curve_is_the_probit_of_the_rates():
    rates = make_rates(60)
    (curve,) = lines_of(det_figure({"system": rates}), "None", "system")
    expected = ndtri(np.clip([rates.false_alarm, rates.miss], OUTSIDE, 1 - OUTSIDE))
    np.testing.assert_allclose(curve.get_data(), expected)
    assert curve.get_label() == f"system  (EER {100 * eer(rates)[0]:.2f} %)"


def test_long_curve_keeps_its_shape_with_few_vertices():
    rates = make_rates(200_000)
    x, y = det_line(rates)
    assert len(x) < 2 * 2 * 9.6 / CELL  # two vertices a cell, down and right by 9.6 probits each
    kept = set(zip(x, y))
    every = ndtri(np.clip([rates.false_alarm, rates.miss], OUTSIDE, 1 - OUTSIDE))
    assert kept <= set(zip(*every))
    # Between two kept vertices that are further apart than two cells, nothing was left out.
    position = {point: number for number, point in enumerate(zip(*every))}
    jumps = [(a, b) for a, b in pairwise(zip(x, y)) if np.abs(np.subtract(a, b)).max() > 2 * CELL]
    assert jumps and all(position[b] - position[a] == 1 for a, b in jumps)


def test_marks_lie_at_the_eer_and_the_cheapest_points():
    rates = make_rates(5000)
    figure = det_figure({"system": rates}, points=(0.05, 0.3))
    limits = det_limits([rates])
    expected = [(eer(rates)[0],) * 2, min_dcf_point(rates, 0.05), min_dcf_point(rates, 0.3)]
    for marker, (miss, false_alarm) in zip("os^", expected):
        (mark,) = lines_of(figure, marker)
        np.testing.assert_allclose(np.ravel(mark.get_data()), ndtri(np.clip([false_alarm, miss], *limits)))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"EER", "minDCF, p = 0.05", "minDCF, p = 0.3"} <= set(names)


@pytest.mark.parametrize(
    "rates",
    [
        error_rates([0.1, 0.9], [0, 1]),
        error_rates([0.9, 0.1], [0, 1]),
        error_rates([0.5] * 6, [0, 1] * 3),
        make_rates(30),
        make_rates(20_000),
    ],
)
def test_axes_hold_the_eer_and_are_labelled_in_percent(rates):
    figure = det_figure({"system": rates})
    axes = figure.axes[0]
    (mark,) = lines_of(figure, "o")
    (low, high), x = axes.get_xlim(), mark.get_xdata()[0]
    assert low <= x <= high and axes.get_ylim() == (low, high)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(labels) >= 4
    np.testing.assert_allclose(ndtri(np.array(labels, dtype=float) / 100), axes.get_xticks())


def test_saves_png_and_svg(tmp_path):
    figure = det_figure({"system": make_rates(30)})
    png, svg = save_figure(figure, tmp_path / "new" / "det_0.05")
    assert (png.name, svg.name) == ("det_0.05.png", "det_0.05.svg")
    assert png.read_bytes().startswith(b"\x89PNG") and "<svg" in svg.read_text()


def test_bad_arguments_are_named():
    with pytest.raises(InputError, match="at least one curve"):
        det_figure({})
    with pytest.raises(InputError, match="at most 4 target priors, not 5"):
        det_figure({"system": make_rates(20)}, points=(0.1, 0.2, 0.3, 0.4, 0.5))


def test_histogram_shows_shares_of_each_class():
    scores, labels = [0.0, 0.0, 0.0, 1.0, 1.0], [0, 0, 0, 0, 1]
    axes = histogram_figure(scores, labels, thresholds={"chosen": 0.25}).axes[0]
    nontargets, targets = [patch.get_data().values for patch in axes.patches if "trials" in patch.get_label()]
    assert (nontargets[0], nontargets[-1], targets[0], targets[-1]) == (75, 25, 0, 100)
    assert [(line.get_xdata()[0], line.get_label()) for line in axes.lines] == [(0.25, "chosen: 0.25")]


def test_histogram_has_the_thresholds_of_its_own_trials():
    rng = np.random.default_rng(0)
    labels = np.append([0, 1], rng.integers(0, 2, 500))
    scores = rng.normal(size=502) + 2 * labels
    rates = error_rates(scores, labels)
    drawn = {
        line.get_label().split(":")[0]: line.get_xdata()[0] for line in histogram_figure(scores, labels).axes[0].lines
    }
    assert drawn == {
        "EER": eer(rates)[1],
        "minDCF, p = 0.01": min_dcf(rates, 0.01)[1],
        "minDCF, p = 0.05": min_dcf(rates, 0.05)[1],
    }


def test_training_curves_by_epoch(tmp_path):
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    (metrics / "train_metrics.csv").write_text(
        "epoch,step,loss,accuracy,margin\n1,1,4.0,0.1,\n2,2,3.0,0.2,\n3,3,2.0,0.4,\n4,4,1.0,,\n"
    )
    (metrics / "val_metrics.csv").write_text("epoch,step,eer,min_dcf_0.05\n2,2,0.25,0.9\n4,4,0.125,0.5\n")
    panels = {axes.get_title("left"): axes.lines for axes in training_curves(tmp_path).axes}
    assert list(panels) == ["training loss", "training accuracy (%)", "validation EER (%)", "validation minDCF"]
    drawn = {title: np.array(lines[0].get_data()).tolist() for title, lines in panels.items()}
    assert drawn["training loss"] == [[1, 2, 3, 4], [4, 3, 2, 1]]
    assert drawn["validation EER (%)"] == [[2, 4], [25, 12.5]]
    assert drawn["training accuracy (%)"][1] == [10, 20, 40]


def test_no_accuracy_is_drawn_below_zero(tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "val_metrics.csv").write_text("epoch,accuracy\n1,0\n2,0\n")
    (panel,) = training_curves(tmp_path).axes
    assert panel.get_ylim() == (0, 1)


def test_training_curves_need_something_to_draw(tmp_path):
    assert read_metrics(tmp_path / "none.csv") == {}
    with pytest.raises(InputError, match="no training or validation metrics"):
        training_curves(tmp_path)


def test_a_layout_is_found_once(tmp_path):
    figure = det_figure({"system": make_rates(30)})
    fresh = figure_image(det_figure({"system": make_rates(30)}))
    save_figure(figure, tmp_path / "det")
    np.testing.assert_array_equal(figure_image(figure), fresh)
    assert not isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)
