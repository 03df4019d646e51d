"""From what was found in each file to the manifest, the list of rejected files and the table of speakers."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pyarrow as pa

from speakerlab.data.left_out import BadFile, commonest, refusal, too_many
from speakerlab.data.manifest import MANIFEST_SCHEMA, read_manifest, write_manifest, write_rows
from speakerlab.data.prepare.described import Recording, Speaker
from speakerlab.data.prepare.examine import Facts, judge
from speakerlab.data.prepare.sources import Checks, Sources

OUTSIDE, DUPLICATE = "outside the layout", "duplicate"


class File(NamedTuple):
    """A file of the tree, by its `path` there, and the file that stands for it: `root/name`."""

    path: str
    root: Path
    name: str
    source: Facts | None  # of the original, if this is a conversion or could not be one

    @property
    def file(self) -> Path:
        return self.root / self.name


@dataclass(frozen=True, eq=False)
class Judged:
    """The files that can be used, each with its recording and facts, and the others."""

    used: list[File]
    recordings: list[Recording]
    facts: list[Facts]
    rejected: list[BadFile]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What `prepare` leaves: the manifest, what was rejected, and what the corpus should have."""

    corpus: str
    to: Path
    manifest: pa.Table
    rejected: list[BadFile]
    expected: dict[str, tuple[int, int]]
    augment: dict[str, str]
    missing_lists: list[str]


def judge_all(files: list[File], facts: list[Facts], corpus: ModuleType, checks: Checks, to: Path) -> Judged:
    """Sort the files out by what was found in them, and by what the corpus's layout says of their paths.

    Args:
        files, facts: one for one, in order of path: of two with the same utterance the first is used.
        corpus: its module.
        checks: the limits.
        to: the prepared folder, whose lists know splits that paths do not tell.
    """
    speakers, first = corpus.read_speakers(to), {}
    judged = Judged([], [], [], [])
    for file, found in zip(files, facts, strict=True):
        recording = corpus.describe(file.path)
        origin = file.source or found
        reason = judge(found, checks, origin.sample_rate, origin.channels)
        if recording is None:
            reason = (OUTSIDE, f"expected {corpus.LAYOUT}")
        elif reason is None and recording.utterance in first:
            reason = (DUPLICATE, f"the same recording as {first[recording.utterance]}")
        if reason is not None:
            judged.rejected.append(BadFile(file.path, *reason))
            continue
        first[recording.utterance] = file.path
        known = speakers.get(recording.speaker, Speaker())
        judged.used.append(file)
        judged.recordings.append(recording._replace(split=recording.split or known.split))
        judged.facts.append(found)
    return judged


def write_results(judged: Judged, sources: Sources, corpus: ModuleType, to: Path) -> Prepared:
    """Write rejected.csv, then, if enough is good, the manifest and speakers.csv.

    Raises:
        InputError: if more files than allowed are bad, or none is good.
    """
    write_rows(to / "rejected.csv", [BadFile._fields, *judged.rejected])
    _check_share(judged, sources, to)
    speakers = corpus.read_speakers(to)
    table = manifest_of(judged, speakers)
    write_manifest(table, to / "manifest.parquet")
    write_rows(to / "speakers.csv", speaker_rows(table))
    manifest = read_manifest(to / "manifest.parquet")
    return Prepared(sources.corpus, to, manifest, judged.rejected, sources.expected, corpus.AUGMENT, [])


def manifest_of(judged: Judged, speakers: dict[str, Speaker]) -> pa.Table:
    """A row a recording in order of path; after the usual columns nationality and the corpus's own."""
    recordings, facts = judged.recordings, judged.facts
    known = [speakers.get(recording.speaker, Speaker()) for recording in recordings]
    columns = {
        "utterance": [recording.utterance for recording in recordings],
        "speaker": [recording.speaker for recording in recordings],
        "session": [recording.session for recording in recordings],
        "root": pa.array([str(file.root) for file in judged.used], pa.string()).dictionary_encode(),
        "path": [file.name for file in judged.used],
        "first_sample": [0] * len(recordings),
        "samples": [found.samples for found in facts],
        "sample_rate": [found.sample_rate for found in facts],
        "split": [recording.split for recording in recordings],
        "gender": [speaker.gender.lower() for speaker in known],
    }
    table = pa.table(columns, schema=MANIFEST_SCHEMA)
    table = table.append_column("nationality", pa.array([speaker.nationality for speaker in known], pa.string()))
    for name in dict.fromkeys(name for recording in recordings for name in recording.extra):
        cells = [recording.extra.get(name, "") for recording in recordings]
        table = table.append_column(name, pa.array(cells, pa.string()))
    return table


def speaker_rows(table: pa.Table) -> list[tuple]:
    """A row a speaker and split, after the header: gender, nationality, utterances, hours."""
    names = ("speaker", "split", "gender", "nationality")
    seconds, counts = Counter(), Counter()
    columns = [table[name].to_pylist() for name in (*names, "samples", "sample_rate")]
    for *key, samples, rate in zip(*columns, strict=True):
        if key[0]:
            counts[tuple(key)] += 1
            seconds[tuple(key)] += samples / rate
    rows = [(*key, counts[key], f"{seconds[key] / 3600:.4f}") for key in sorted(counts)]
    return [(*names, "utterances", "hours"), *rows]


def _check_share(judged: Judged, sources: Sources, to: Path) -> None:
    bad, total = len(judged.rejected), len(judged.rejected) + len(judged.used)
    allowed = sources.checks.max_bad_share
    if too_many(bad, total, allowed):
        examples, listed = commonest(judged.rejected), to / "rejected.csv"
        raise refusal(sources.corpus, bad, total, "audio file", "--max-bad-share", allowed, examples, listed)
