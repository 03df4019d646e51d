import pytest

from speakerlab.reports.conditions import conditions_figure, conditions_rows
from speakerlab.scoring.conditions import ConditionResult

RESULTS = {
    "gender": {
        "female": ConditionResult(0.04, 0.02, 0.07, 0.05, 0.03, 1200, 3400),
        "male": ConditionResult(0.06, None, None, 0.07, 0.05, 8, 34),
        "one of each": ConditionResult(None, None, None, None, 0.01, 0, 99),
    },
    "session": {"different": ConditionResult(0.05, 0.02, 0.08, 0.05, 0.05, 10, 20)},
}


def test_bars_and_intervals():
    figure = conditions_figure(RESULTS, overall=0.05)
    (axes,) = figure.axes  # one condition alone compares with nothing
    assert [bar.get_width() for bar in axes.patches] == [4.0, 6.0]
    lines = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "None"]
    assert lines == [pytest.approx([2.0, 7.0]), [5.0, 5.0]]  # the interval, and the whole list
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["female\n1,200 + 3,400 trials", "male\n8 + 34 trials"]
    assert axes.get_title("left") == "gender" and axes.get_xlim()[1] > 7


def test_nothing_to_compare_is_no_figure():
    assert conditions_figure({"session": RESULTS["session"]}, 0.05) is None
    assert conditions_figure({}, 0.05) is None
    perfect = {"gender": {name: RESULTS["gender"]["male"]._replace(eer=0.0) for name in ("female", "male")}}
    assert conditions_figure(perfect, 0.0).axes[0].get_xlim()[1] > 0


def test_rows_say_what_is_missing():
    rows = conditions_rows(RESULTS)
    assert list(rows["gender: female"].values()) == ["4.00", "2.00 – 7.00", "5.00", "3.00", "1,200", "3,400"]
    assert list(rows["gender: one of each"].values()) == ["–", "–", "–", "1.00", "0", "99"]
