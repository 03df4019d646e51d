"""What a manifest holds, in numbers; computed on whole columns, so that millions of rows take seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab.data.left_out import LeftOut
from speakerlab.data.manifest import MANIFEST_SCHEMA, seconds_of

UNKNOWN = "unknown"
MOST_VALUES = 100  # a text column with more different values describes utterances, not groups of them
QUANTILES = {"min": 0.0, "p5": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}


class Group(NamedTuple):
    """The rows that share a value, such as a sample rate."""

    speakers: int
    utterances: int
    hours: float


@dataclass(frozen=True, eq=False)
class Summary:
    """What a manifest holds.

    Attributes:
        seconds: `(utterances,)` length of each.
        utterances_of: `(speakers,)` how many each speaker has.
        seconds_of: `(speakers,)` of each speaker, added up.
        sessions: occasions, each of one speaker; 0 if no row names one.
        files: different audio files; fewer than utterances where these are parts of files.
        repeated: utterances that begin at the same sample of the same file as another.
        groups: name such as "gender" -> value -> its rows, the largest group first. Names of which no row knows the
            value are absent.
    """

    seconds: np.ndarray
    utterances_of: np.ndarray
    seconds_of: np.ndarray
    sessions: int
    files: int
    repeated: int
    groups: dict[str, dict[str, Group]]

    def facts(self) -> dict:
        """The numbers as JSON takes them."""
        return {
            "speakers": len(self.utterances_of),
            "utterances": len(self.seconds),
            "sessions": self.sessions,
            "files": self.files,
            "repeated": self.repeated,
            "hours": float(self.seconds.sum()) / 3600,
            "seconds": spread(self.seconds),
            "utterances_per_speaker": spread(self.utterances_of),
            "hours_per_speaker": spread(self.seconds_of / 3600),
            "groups": {
                name: {value: group._asdict() for value, group in groups.items()}
                for name, groups in self.groups.items()
            },
        }


@dataclass(frozen=True, eq=False)
class Development:
    """The other side of a corpus that is ready to train on: `seconds` `(utterances,)`, and its trials."""

    seconds: np.ndarray
    targets: int
    nontargets: int

    def facts(self) -> dict:
        """The numbers as JSON takes them."""
        return {
            "utterances": len(self.seconds),
            "hours": float(self.seconds.sum()) / 3600,
            "seconds": spread(self.seconds),
            "targets": self.targets,
            "nontargets": self.nontargets,
        }


@dataclass(frozen=True, eq=False)
class Look:
    """All that is shown of a corpus.

    Attributes:
        name: of the corpus.
        source: where it comes from.
        summary: of its utterances; of those to train on where there is a development side.
        development: None where only a manifest or a folder was looked at.
        left_out: reason -> files.
        notes: lines of the corpus's own about what was done and left out.
    """

    name: str
    source: str
    summary: Summary
    development: Development | None = None
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def facts(self) -> dict:
        """The numbers as JSON takes them."""
        return {
            "name": self.name,
            "source": self.source,
            **self.summary.facts(),
            "left_out": {reason: files._asdict() for reason, files in self.left_out.items()},
            "development": self.development.facts() if self.development else None,
            "notes": list(self.notes),
        }


def summarize(table: pa.Table) -> Summary:
    """Count, add up and group the rows of a manifest; further text columns with few different values are groups too."""
    seconds = seconds_of(table)
    speakers, names = _codes(table["speaker"])
    groups = {}
    for name, column in _grouping_columns(table).items():
        codes, values = _codes(column)
        if any(values):
            groups[name] = _groups(codes, values, speakers, len(names), seconds)
    files, starts = _files_and_starts(table)
    return Summary(
        seconds=seconds,
        utterances_of=np.bincount(speakers, minlength=len(names)),
        seconds_of=np.bincount(speakers, weights=seconds, minlength=len(names)),
        sessions=_sessions(table, speakers),
        files=files,
        repeated=table.num_rows - starts,
        groups=groups,
    )


def spread(values: np.ndarray) -> dict[str, float]:
    """Minimum, 5 %, median, 95 % and maximum, interpolated linearly; empty for no values.

    >>> spread(np.arange(101.0))
    {'min': 0.0, 'p5': 5.0, 'median': 50.0, 'p95': 95.0, 'max': 100.0}
    """
    if not len(values):
        return {}
    return dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values())).tolist()))


def _grouping_columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """What rows are grouped by: (name of the group, text of each row)."""
    columns = {
        "sample rate": table["sample_rate"],
        "format": pc.struct_field(pc.extract_regex(pc.ascii_lower(table["path"]), r"\.(?P<format>[^./]+)$"), "format"),
        "split": table["split"],
        "gender": table["gender"],
    }
    if pc.count_distinct(_plain(table["root"])).as_py() > 1:
        columns["folder"] = table["root"]
    for name in table.column_names:
        if name not in MANIFEST_SCHEMA.names and pa.types.is_string(_value_type(table[name].type)):
            column = _plain(table[name])
            if pc.count_distinct(column).as_py() <= MOST_VALUES:
                columns[name] = column
    return columns


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """`(rows,)` int64 position of each row's value among the different ones, and these as text; null counts as ""."""
    encoded = pc.fill_null(_plain(column).cast(pa.string()), "").dictionary_encode().unify_dictionaries()
    if not encoded.num_chunks:
        return np.zeros(0, np.int64), []
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
    return codes.astype(np.int64), encoded.chunk(0).dictionary.to_pylist()


def _groups(
    codes: np.ndarray, values: list[str], speakers: np.ndarray, num_speakers: int, seconds: np.ndarray
) -> dict[str, Group]:
    utterances = np.bincount(codes, minlength=len(values))
    hours = np.bincount(codes, weights=seconds, minlength=len(values)) / 3600
    met = np.zeros(len(values) * num_speakers, bool)  # (values, speakers): far cheaper than sorting the pairs
    met[codes * num_speakers + speakers] = True
    heard = met.reshape(len(values), num_speakers).sum(axis=1)
    order = np.argsort(-utterances, kind="stable").tolist()
    return {
        values[i] or UNKNOWN: Group(int(heard[i]), int(utterances[i]), float(hours[i])) for i in order if utterances[i]
    }


def _sessions(table: pa.Table, speakers: np.ndarray) -> int:
    codes, names = _codes(table["session"])
    known = np.array([name != "" for name in names], bool)[codes] if names else np.zeros(0, bool)
    return len(np.unique((speakers * len(names) + codes)[known]))


def _files_and_starts(table: pa.Table) -> tuple[int, int]:
    """How many different files, and how many different first samples in them."""
    if pc.count_distinct(table["path"]).as_py() == table.num_rows:  # the usual case, in a third of the time
        return table.num_rows, table.num_rows
    keys = pa.table({"root": _plain(table["root"]), "path": table["path"], "first_sample": table["first_sample"]})
    starts = keys.group_by(list(keys.column_names)).aggregate([])
    return starts.group_by(["root", "path"]).aggregate([]).num_rows, starts.num_rows


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without dictionaries, which differ from chunk to chunk."""
    return column.cast(_value_type(column.type))
