import csv

import pytest

from speakerlab.training.metrics_file import MetricsFile

COLUMNS = ("epoch", "step", "eer")


def make(tmp_path, rows: int) -> MetricsFile:
    table = MetricsFile(tmp_path / "metrics" / "val.csv", COLUMNS)
    for epoch in range(1, rows + 1):
        table.append({"epoch": epoch, "step": 10 * epoch, "eer": 1 / (epoch + 2)})
    return table


def read(table: MetricsFile) -> list[dict]:
    with open(table.path, newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_there_at_once_in_the_columns_order(tmp_path):
    table = make(tmp_path, 1)
    table.append({"eer": 0.25, "step": 20, "epoch": 2})
    assert table.path.read_text().splitlines() == ["epoch,step,eer", "1,10,0.333333", "2,20,0.25"]
    again = MetricsFile(table.path, COLUMNS)  # a resumed run: no second header
    again.append({"epoch": 3, "step": 30})
    assert [row["epoch"] for row in read(table)] == ["1", "2", "3"] and read(table)[2]["eer"] == ""


def test_an_unknown_column_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="loss"):
        make(tmp_path, 1).append({"epoch": 2, "step": 20, "loss": 1.0})


@pytest.mark.parametrize("step, left", [(0, 0), (9, 0), (10, 1), (25, 2), (40, 4), (99, 4)])
def test_cutting_back(tmp_path, step, left):
    table = make(tmp_path, 4)
    whole = read(table)
    table.cut_back(step)
    assert read(table) == whole[:left]
    table.append({"epoch": left + 1, "step": 10 * (left + 1), "eer": 0.5})
    assert [row["epoch"] for row in read(table)] == [str(epoch + 1) for epoch in range(left + 1)]
    assert [path.name for path in table.path.parent.iterdir()] == ["val.csv"]


@pytest.mark.parametrize("lost", range(1, len("4,40,0.166667\r\n")))
def test_a_half_written_last_line_goes(tmp_path, lost):
    """Killed anywhere within the last row: the others stay, and the next row gets a line of its own."""
    table = make(tmp_path, 4)
    whole = read(table)
    table.path.write_bytes(table.path.read_bytes()[:-lost])
    table.cut_back(1000)
    assert read(table) == whole[:3]
    table.append({"epoch": 4, "step": 40, "eer": 1 / 6})
    assert read(table) == whole


@pytest.mark.parametrize("contents", ["", "epo", "epoch,step,eer"])
def test_a_half_written_header_goes(tmp_path, contents):
    table = MetricsFile(tmp_path / "val.csv", COLUMNS)
    table.path.write_text(contents)
    table.cut_back(1000)
    table.append({"epoch": 1, "step": 10, "eer": 0.5})
    assert read(table) == [{"epoch": "1", "step": "10", "eer": "0.5"}]


def test_no_file_stays_none(tmp_path):
    table = MetricsFile(tmp_path / "val.csv", COLUMNS)
    table.cut_back(5)
    assert not table.path.exists()
