"""A CSV table that grows by a row an epoch, or several, and is cut back when a run resumes from before its last row."""

import csv
from pathlib import Path

from speakerlab.data.manifest import append_rows, replacing


class MetricsFile:
    """Rows of numbers under fixed columns, one of which is `step`.

    Args:
        path: of the CSV file; made with the first row.
        columns: their order.
    """

    def __init__(self, path: Path, columns: tuple[str, ...]):
        self.path = path
        self.columns = columns

    def append(self, *rows: dict) -> None:
        """Write rows; they are in the file when this returns."""
        append_rows(self.path, self.columns, [{name: _rounded(value) for name, value in row.items()} for row in rows])

    def cut_back(self, step: int) -> None:
        """Drop the rows after `step`, and a last line that a kill left half written."""
        if not self.path.exists():
            return
        with open(self.path, newline="", encoding="utf-8") as file:
            whole = (line for line in file if line.endswith("\n"))
            rows = [row for row in csv.DictReader(whole) if int(row["step"]) <= step]
        with replacing(self.path) as draft, open(draft, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)


def _rounded(value: float | int | str) -> float | int | str:
    return float(f"{value:.6g}") if isinstance(value, float) else value
