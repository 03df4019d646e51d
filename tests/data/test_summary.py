"""Each number against a loop over the rows."""

import json
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from speakerlab.data.manifest import MANIFEST_SCHEMA, as_manifest
from speakerlab.data.summary import Group, spread, summarize

COLUMNS = ("speaker", "session", "root", "path", "first_sample", "samples", "sample_rate", "split", "gender")


def manifest(rows: list[tuple], **extra: list) -> pa.Table:
    """Rows of COLUMNS, and further columns."""
    columns = dict(zip(COLUMNS, zip(*rows))) if rows else {name: [] for name in COLUMNS}
    columns = {name: list(values) for name, values in columns.items()}
    columns["root"] = pa.array(columns["root"], pa.string()).dictionary_encode()
    table = pa.table(
        {"utterance": [str(i) for i in range(len(rows))]} | {name: columns[name] for name in columns},
    )
    for name, values in extra.items():
        table = table.append_column(name, [values])
    if not rows:
        return pa.table({field.name: pa.array([], field.type) for field in MANIFEST_SCHEMA})
    return as_manifest(table, "test")


@pytest.fixture(scope="module")
def rows() -> list[tuple]:
    """2,000 random rows: 40 speakers, parts of files, unknown sessions and genders, two folders, three formats."""
    generator = np.random.default_rng(5)
    made = []
    for i in range(2000):
        speaker = int(40 * generator.random() ** 2)
        suffix = ("flac", "WAV", "wav", "m4a")[generator.integers(4)]
        made.append(
            (
                f"s{speaker}",
                ("", "a", "b")[generator.integers(3)],
                ("/one", "/two")[speaker % 2],
                f"s{speaker}/{i // 3}.x.{suffix}",
                int(generator.integers(3)) * 1000,
                int(generator.integers(1, 400000)),
                (8000, 16000, 44100)[generator.integers(3)],
                ("train", "test")[speaker % 2],
                ("m", "f", "")[speaker % 3],
            )
        )
    return made


def naive_spread(values: list[float]) -> list[float]:
    """Linear interpolation between the neighbours in sorted order."""
    values = sorted(values)
    found = []
    for share in (0, 0.05, 0.5, 0.95, 1):
        place = share * (len(values) - 1)
        low = int(place)
        high = min(low + 1, len(values) - 1)
        found.append(values[low] + (place - low) * (values[high] - values[low]))
    return found


def naive_groups(rows: list[tuple], value_of) -> dict[str, tuple]:
    speakers, count, hours = defaultdict(set), defaultdict(int), defaultdict(float)
    for row in rows:
        value = value_of(row) or "unknown"
        speakers[value].add(row[0])
        count[value] += 1
        hours[value] += row[5] / row[6] / 3600
    return {value: (len(speakers[value]), count[value], pytest.approx(hours[value])) for value in count}


def test_against_loops(rows):
    facts = summarize(manifest(rows)).facts()
    seconds = [row[5] / row[6] for row in rows]
    utterances, hours = defaultdict(int), defaultdict(float)
    for row, length in zip(rows, seconds):
        utterances[row[0]] += 1
        hours[row[0]] += length / 3600
    assert facts["speakers"] == len(utterances)
    assert facts["utterances"] == 2000
    assert facts["hours"] == pytest.approx(sum(seconds) / 3600)
    assert facts["sessions"] == len({row[:2] for row in rows if row[1]})
    assert facts["files"] == len({row[2:4] for row in rows}) < 2000
    assert facts["repeated"] == 2000 - len({row[2:5] for row in rows}) > 0
    assert list(facts["seconds"].values()) == pytest.approx(naive_spread(seconds))
    assert list(facts["utterances_per_speaker"].values()) == pytest.approx(naive_spread(list(utterances.values())))
    assert list(facts["hours_per_speaker"].values()) == pytest.approx(naive_spread(list(hours.values())))


def test_groups_against_loops(rows):
    groups = summarize(manifest(rows)).groups
    of = {
        "sample rate": lambda row: str(row[6]),
        "format": lambda row: row[3].split(".")[-1].lower(),
        "split": lambda row: row[7],
        "gender": lambda row: row[8],
        "folder": lambda row: row[2],
    }
    assert set(groups) == set(of)
    for name, value_of in of.items():
        assert {value: tuple(group) for value, group in groups[name].items()} == naive_groups(rows, value_of)
        counts = [group.utterances for group in groups[name].values()]
        assert counts == sorted(counts, reverse=True)


def test_what_nobody_knows_is_absent(rows):
    bare = [(*row[:1], "", "/one", *row[3:7], "", "") for row in rows]
    summary = summarize(manifest(bare))
    assert summary.sessions == 0
    assert set(summary.groups) == {"sample rate", "format"}


def test_further_columns_with_few_values_are_groups(rows):
    nations = [("Norway", "Peru", None)[i % 3] for i in range(len(rows))]
    table = manifest(rows, nation=nations, url=[f"u{i}" for i in range(len(rows))], age=[30] * len(rows))
    groups = summarize(table).groups
    assert not {"url", "age"} & set(groups)
    expected = naive_groups([(*row, nation) for row, nation in zip(rows, nations)], lambda row: row[-1])
    assert {value: tuple(group) for value, group in groups["nation"].items()} == expected


def test_a_split_in_chunks_changes_nothing(rows):
    table = manifest(rows)
    parts = pa.concat_tables([table.slice(0, 700), table.slice(700, 0), table.slice(700)])
    assert parts["speaker"].num_chunks > 1
    assert summarize(parts).facts() == summarize(table).facts()


def test_one_row():
    summary = summarize(manifest([("s", "", "/r", "s/noext", 0, 8000, 16000, "", "f")]))
    assert summary.facts()["seconds"]["p95"] == 0.5
    assert summary.groups == {
        "sample rate": {"16000": Group(1, 1, 0.5 / 3600)},
        "gender": {"f": Group(1, 1, 0.5 / 3600)},
    }


def test_no_rows():
    facts = summarize(manifest([])).facts()
    assert facts["speakers"] == facts["utterances"] == facts["files"] == facts["hours"] == 0
    assert facts["seconds"] == facts["groups"] == spread(np.zeros(0)) == {}


def test_facts_are_json(rows):
    facts = summarize(manifest(rows)).facts()
    assert json.loads(json.dumps(facts)) == facts
