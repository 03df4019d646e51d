import numpy as np

from speakerlab.reports.identification import identification_report, match_figure


def test_the_curve_is_the_share_within_each_rank():
    rank = np.array([1, 1, 2, 5, 30, 3, 1, 1])
    (axes,) = match_figure(rank, speakers=40).axes
    curve, chance = axes.lines
    assert curve.get_xdata().tolist() == list(range(1, 21))
    assert curve.get_ydata().tolist() == [100 * float(np.mean(rank <= k)) for k in range(1, 21)]
    assert chance.get_ydata()[3] == 10.0
    assert len(match_figure(rank, speakers=4).axes[0].lines[0].get_xdata()) == 4


def test_the_report(tmp_path):
    metrics = {"accuracy": 0.5, "top5_accuracy": 0.875, "macro_f1": 0.4321, "error_rate": 0.5, "utterances": 8}
    rank = np.array([1, 1, 2, 5, 30, 3, 1, 1])
    page = identification_report(tmp_path, "Evaluation", "identification_test", metrics, rank, 40, [("a&b", "c", 3)])
    assert page == tmp_path / "evaluation_identification_test" / "report.html"
    text = page.read_text()
    assert all(cell in text for cell in ("50.00", "87.50", "43.21", "a&amp;b taken for c", "3 times", "40 speakers"))
    assert (tmp_path / "plots" / "match_identification_test.png").stat().st_size > 1000
    page = identification_report(tmp_path, "Evaluation", "identification_test", metrics, rank, 40, [])
    assert "every utterance was identified" in page.read_text()
