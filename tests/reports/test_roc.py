import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from speakerlab import InputError
from speakerlab.reports.roc import CELL, lowest_false_alarm, roc_figure, roc_line
from speakerlab.scoring.metrics import eer, error_rates


def trials(count: int):
    generator = np.random.default_rng(count)
    labels = np.append([0, 1], generator.integers(0, 2, count - 2))
    return generator.normal(size=count) + 2 * labels, labels


def test_the_line_is_the_one_of_scikit_learn():
    scores, labels = trials(300)
    x, y = roc_line(error_rates(scores, labels), 1e-5)
    false_alarm, accepted, _ = roc_curve(labels, scores, drop_intermediate=False)
    expected = dict(zip(np.maximum(false_alarm, 1e-5).round(9), accepted))  # the highest of each false alarm rate
    drawn = dict(sorted(zip(x.round(9), y), key=lambda point: point[1]))
    assert drawn.keys() == expected.keys()
    assert all(drawn[rate] == pytest.approx(expected[rate]) for rate in drawn)


def test_long_lines_have_few_vertices():
    scores, labels = trials(200_000)
    x, y = roc_line(error_rates(scores, labels), 1e-5)
    assert 100 < len(x) < 2 * (5 + 1) / CELL
    assert y.min() == 0 and y.max() == 1 and x.max() == 1


def test_marks_and_areas():
    scores, labels = trials(5000)
    rates = error_rates(scores, labels)
    axes = roc_figure({"system": rates}).axes[0]
    rate, _ = eer(rates)
    marks = {line.get_marker(): np.ravel(line.get_data()) for line in axes.lines if line.get_marker() != "None"}
    np.testing.assert_allclose(marks["o"], [rate, 100 * (1 - rate)])
    for marker, point in (("s", 0.01), ("^", 0.001)):
        best = 100 * max(1 - rates.miss[rates.false_alarm <= point])
        np.testing.assert_allclose(marks[marker], [point, best])
    (label,) = [line.get_label() for line in axes.lines if "area" in line.get_label()]
    assert f"{100 * roc_auc_score(labels, scores):.2f} %" in label


def test_the_axis_starts_where_there_is_something_to_see():
    assert lowest_false_alarm([error_rates(*trials(300))]) == pytest.approx(0.001)
    assert lowest_false_alarm([error_rates([0.0, 1.0], [0, 1])]) == pytest.approx(0.01)
    figure = roc_figure({"perfect": error_rates([0.0, 1.0], [0, 1]), "wrong": error_rates([1.0, 0.0], [0, 1])})
    figure.canvas.draw()
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert "100" in labels and "1" in labels


def test_bad_arguments_are_named():
    with pytest.raises(InputError, match="at least one curve"):
        roc_figure({})
    with pytest.raises(InputError, match="at most 4 rates"):
        roc_figure({"a": error_rates(*trials(20))}, points=(0.1,) * 5)
