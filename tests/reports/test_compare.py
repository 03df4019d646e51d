"""The tables' numbers and the figures' bars."""

import csv
import re
from dataclasses import replace

import pytest

from speakerlab.reports.compare import conclusions, metrics_figure, overall_figure, write_comparison
from speakerlab.scoring.bootstrap import Difference
from speakerlab.scoring.comparison import Compared, Pair
from speakerlab.scoring.metrics import error_rates


@pytest.fixture
def compared() -> Compared:
    metrics = {
        "small": {"eer": 0.04, "threshold": 0.3, "min_dcf_0.01": 0.4, "auc": 0.99, "eer_low": 0.03, "eer_high": 0.05},
        "large": {"eer": 0.02, "threshold": 0.2, "min_dcf_0.01": 0.3, "auc": 0.995, "eer_low": 0.01, "eer_high": 0.035},
    }
    pairs = [
        Pair("small", "large", "eer", Difference(-0.02, -0.03, -0.01, 0.002), 0.004),
        Pair("small", "large", "min_dcf_0.01", Difference(-0.1, -0.2, 0.01, 0.08), 0.08),
    ]
    labels = [1, 1, 1, 1, 0, 0, 0, 0, 0]
    scores = {
        "small": [0.9, 0.8, 0.3, 0.6, 0.5, 0.4, 0.1, 0.2, 0.0],
        "large": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1, 0.2, 0.0],
    }
    curves = {label: error_rates(values, labels) for label, values in scores.items()}
    return Compared("vox1_o", "trials", "4 target and 5 non-target trials of 6 speakers", metrics, pairs, 1000, curves)


COSTS = {
    "small": {"parameters": 1_000_000, "latency_ms": 3.21},
    "large": {"parameters": 22_000_000, "latency_ms": 30.5},
}
FACTS = {"command": "speakerlab compare a b"}


def test_everything_is_written(compared, tmp_path):
    page = write_comparison(tmp_path / "new", [compared], COSTS, FACTS, ["dev was not scored by b"])
    names = sorted(str(path.relative_to(page.parent)) for path in page.parent.rglob("*") if path.is_file())
    drawn = ("compare_cost", "compare_vox1_o", "roc_vox1_o")
    figures = [f"plots/{name}.{form}" for name in drawn for form in ("png", "svg")]
    assert names == ["comparison.csv", "comparison.md", "differences.csv", *figures, "report.html"]
    html, text = page.read_text(), (page.parent / "comparison.md").read_text()
    for said in ("4.00 % (3.00 to 5.00 %)", "0.3000", "−2.00", "−3.00 to −1.00", "0.004 *", "22,000,000", "30.5 ms"):
        assert said in html and said in text, said
    assert "EER: large is better than small" in text and "minDCF(0.01): no difference is significant" in text
    assert "<h2>vox1_o, ROC</h2>" in html
    assert "dev was not scored by b" in text and "1,000 draws" in text
    assert all((page.parent / path).is_file() for path in re.findall(r"!\[.*\]\((.*)\)", text))
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("|"))


def test_all_lists_stand_in_one_table_and_one_chart(compared, tmp_path):
    """Identification and verification of the same systems."""
    metrics = {label: {"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95} for label in compared.metrics}
    named = replace(compared, name="identification_test", kind="utterances", metrics=metrics, pairs=[], curves={})
    page = write_comparison(tmp_path, [compared, named], {}, FACTS)
    text = (tmp_path / "comparison.md").read_text()
    table = text.partition("## All lists\n\n")[2].splitlines()
    head = "|  | vox1_o: EER | vox1_o: minDCF(0.01) | identification_test: accuracy |"
    assert table[0] == head and table[2].startswith("| small | 4.00 % (3.00 to 5.00 %) | 0.4000 | 90.00 %")
    assert "plots/roc_vox1_o.png" in text and "roc_identification_test" not in text
    assert "](plots/compare.png)" in text and (tmp_path / "plots" / "compare.png").is_file()
    assert "<h2>All lists</h2>" in page.read_text()
    figure = overall_figure([compared, named])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["vox1_o\nEER (%)", "vox1_o\nminDCF(0.01)", "identification_test\naccuracy (%)"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [4.0, 2.0]
    assert [bar.get_width() for bar in figure.axes[2].patches] == [90.0, 90.0]
    assert "All lists" not in (write_comparison(tmp_path / "one", [compared], {}, FACTS)).read_text()


def test_csv_has_full_numbers(compared, tmp_path):
    second = replace(compared, name="other", pairs=[])
    write_comparison(tmp_path, [compared, second], {"small": COSTS["small"]}, FACTS)
    with open(tmp_path / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["list"], row["system"]) for row in rows] == [
        (name, label) for name in ("vox1_o", "other") for label in ("small", "large")
    ]
    assert float(rows[1]["eer_high"]) == 0.035 and [row["parameters"] for row in rows[:2]] == ["1000000", ""]
    with open(tmp_path / "differences.csv", newline="") as file:
        pairs = list(csv.DictReader(file))
    assert [(row["metric"], float(row["p_corrected"]), row["significant"]) for row in pairs] == [
        ("eer", 0.004, "1"),
        ("min_dcf_0.01", 0.08, "0"),
    ]


def test_the_better_one_depends_on_the_metric():
    metrics = {"a": {"accuracy": 0.9}, "b": {"accuracy": 0.8}, "c": {"accuracy": 0.7}}
    pairs = [
        Pair("a", "b", "accuracy", Difference(-0.1, -0.2, -0.05, 0.001), 0.01),
        Pair("a", "c", "accuracy", Difference(-0.2, -0.3, -0.1, 0.001), 0.01),
        Pair("b", "c", "accuracy", Difference(-0.1, -0.2, 0.05, 0.2), 0.2),
    ]
    one = Compared("who", "utterances", "", metrics, pairs, 1000)
    assert conclusions(one) == ["accuracy: a is better than b, c"]
    errors = [Pair(p.first, p.second, "eer", p.difference, p.p_value) for p in pairs]
    assert conclusions(replace(one, pairs=errors)) == ["EER: b is better than a; c is better than a"]
    assert "too few speakers" in conclusions(replace(one, pairs=[]))[0]


def test_bars_have_the_metrics_lengths_and_intervals(compared):
    panels = metrics_figure(compared).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["EER (%)", "minDCF(0.01)"]
    bars = [patch.get_width() for patch in panels[0].patches]
    assert bars == pytest.approx([4.0, 2.0])
    ends = sorted(x for line in panels[0].lines if line.get_marker() == "|" for x in line.get_xdata())
    assert ends == pytest.approx([1.0, 3.0, 3.5, 5.0])
    assert [text.get_text() for text in panels[0].texts] == ["4.00", "2.00"] and not panels[1].lines
    assert panels[0].get_xlim()[1] > 5.0 and [tick.get_text() for tick in panels[0].get_yticklabels()] == [
        "small",
        "large",
    ]
