"""Where the samples of a manifest's rows come from."""

from typing import Protocol

import numpy as np
import pyarrow as pa

from speakerlab.data.audio import read_audio
from speakerlab.data.shared import SharedTable


class Recordings(Protocol):
    """Rows that can be read in parts.

    Attributes:
        samples: `(rows,)` length of each row at its own rate.
        sample_rates: `(rows,)` in hertz.
    """

    samples: np.ndarray
    sample_rates: np.ndarray

    def read(self, row: int, first: int, count: int, speed: float = 1.0) -> np.ndarray:
        """`(samples,)` float32 at the training rate, played `speed` times as fast.

        Args:
            row: of the manifest.
            first, count: samples at the row's own rate, `first` from the row's beginning.
            speed: changes tempo and pitch together.

        Raises:
            AudioError: if the file can't be read.
        """
        ...


class AudioFiles:
    """Rows read from their audio files, no more of each than is asked for.

    Args:
        table: manifest.
        sample_rate: of what `read` gives, in hertz.
    """

    def __init__(self, table: pa.Table, sample_rate: int):
        # For spawned workers, which would get a copy each.
        self.shared = SharedTable(table.select(["root", "path", "first_sample", "samples", "sample_rate"]))
        self.roots, self.paths = table["root"], table["path"]
        # Arrow tables cost microseconds a cell; these columns are read for every item.
        self.first_sample = table["first_sample"].to_numpy()
        self.samples = table["samples"].to_numpy()
        self.sample_rates = table["sample_rate"].to_numpy()
        self.sample_rate = sample_rate

    def read(self, row: int, first: int, count: int, speed: float = 1.0) -> np.ndarray:
        return read_audio(self.path(row), int(self.first_sample[row]) + first, count, self.sample_rate, speed)

    def path(self, row: int) -> str:
        """The file of a row: `manifest.file_of`, but for the microseconds that a `Path` takes."""
        return f"{self.roots[row].as_py()}/{self.paths[row].as_py()}"

    def __getstate__(self) -> dict:
        return {"shared": self.shared, "sample_rate": self.sample_rate}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["shared"].table, state["sample_rate"])
