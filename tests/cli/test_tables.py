"""Tables as they are printed."""

import csv
import io
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from speakerlab.cli.tables import metrics_table, show, show_training, text_table, trials_table


def printed(table) -> list[list[str]]:
    """The cells of each line, without the frame."""
    output = io.StringIO()
    Console(file=output, width=200).print(table)
    lines = [line.replace("┃", "│").split("│")[1:-1] for line in output.getvalue().splitlines()]
    return [[cell.strip() for cell in cells] for cells in lines if cells]


def test_trials_have_a_row_a_metric_and_intervals_of_the_first_system():
    model = {"eer": 0.0123, "threshold": 0.3, "min_dcf_0.01": 0.25, "targets": 4, "nontargets": 5}
    model |= {"frr_at_far_0.01": 0.02, "eer_low": 0.01, "eer_high": 0.0151}
    rows = printed(trials_table("list", {"model": model, "mean [MFCC]": {"eer": 0.4, "cllr": 0.5}}))
    assert rows == [
        ["", "model", "95 % interval", "mean [MFCC]"],
        ["EER", "1.23 %", "1.00 to 1.51 %", "40.00 %"],
        ["EER threshold", "0.3000", "", "–"],
        ["minDCF(0.01)", "0.2500", "", "–"],
        ["FRR at FAR 1 %", "2.00 %", "", "–"],
        ["Cllr", "–", "", "0.5000 bits"],
    ]
    assert printed(trials_table("list", {"model": {"eer": 0.5}})) == [["", "model"], ["EER", "50.00 %"]]


def test_epochs_have_a_row_each():
    rows = printed(metrics_table("", {"best epoch, 3": {"eer": 0.1, "threshold": 0.2, "epoch": 3}}))
    assert rows == [["", "EER", "EER threshold"], ["best epoch, 3", "10.00 %", "0.2000"]]


def test_numbers_stay_whole_in_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    table = text_table("", {"a system": {"EER": "1.23 % (1.00 to 1.51 %)", "minDCF": "0.1234 (0.1000 to 0.1500)"}})
    table.columns[0].no_wrap = True
    show(table, "a line that is longer than thirty characters")
    said = capsys.readouterr().out
    assert "│ a system │ 1.23 % (1.00 to 1.51 %) │ 0.1234 (0.1000 to 0.1500) │" in said
    assert "a line that is longer than thirty characters" in said


@pytest.mark.parametrize(
    "saved, words",
    [
        (None, []),
        (["a.npz", "my files/b.npz"], ["embeddings=[a.npz,my files/b.npz]"]),
        ({"second": "b.npz", "first": "a.npz"}, ["embeddings={second: b.npz, first: a.npz}"]),
    ],
)
def test_a_trainings_last_line_is_a_command_that_works(capsys, tmp_path, saved, words):
    """What was trained on saved embeddings has no audio to be evaluated on."""
    metrics = tmp_path / "a run" / "metrics" / "val_metrics.csv"
    metrics.parent.mkdir(parents=True)
    with open(metrics, "w", newline="") as file:
        csv.writer(file).writerows([("epoch", "step", "eer"), (1, 10, 0.3), (2, 20, 0.2)])
    run = tmp_path / "a run"
    assert show_training(run, Path("report.html"), saved)["eer"] == 0.2
    last = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(last) == ["evaluate", "python", "evaluate.py", f"ckpt={run}", *words]
