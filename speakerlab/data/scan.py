"""Scans a folder of audio, `root/speaker/**/file`, into a manifest.

The first folder level below the root is the speaker, the folders between it and the file are the session. Only
headers are read, and only of files that are new or changed since the last scan.
"""

import csv
import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.amounts import counted, duration
from speakerlab.data.audio import AUDIO_SUFFIXES
from speakerlab.data.headers import FILES_VERSION, default_workers, probe_changed, remembered_files
from speakerlab.data.left_out import BadFile, check_share, commonest, count_left_out, refusal, too_many
from speakerlab.data.manifest import (
    MANIFEST_SCHEMA,
    concat_manifests,
    read_manifest,
    replacing,
    write_manifest,
    write_rows,
)
from speakerlab.data.prepare.containers import content_of, cut_off
from speakerlab.data.tree import checked_folder, list_audio

LAYOUT = "expected ROOT/SPEAKER/[SESSION/...]FILE, with a folder for each speaker directly below the root"


@dataclass(frozen=True, eq=False)
class ScanResult:
    """The usable files as a manifest, the others, and where those are listed."""

    name: str
    manifest: pa.Table
    quarantined: list[BadFile]
    quarantine_files: tuple[Path, ...]

    def summary(self) -> str:
        """One line: utterances, speakers, hours, and how many files were left out for which reasons."""
        rows, speakers = self.manifest.num_rows, pc.count_distinct(self.manifest["speaker"]).as_py()
        seconds = pc.sum(pc.divide(self.manifest["samples"].cast(pa.float64()), self.manifest["sample_rate"])).as_py()
        line = f"{self.name}: {counted(rows, 'utterance')} of {counted(speakers, 'speaker')}, {duration(seconds or 0)}"
        if not self.quarantined:
            return line
        out, listed = len(self.quarantined), " and ".join(map(str, self.quarantine_files))
        kinds = ", ".join(f"{kind.files} {reason}" for reason, kind in count_left_out(self.quarantined).items())
        return f"{line}; left out {out} of {counted(rows + out, 'file')} ({kinds}), listed in {listed}"


def scan_folder(
    root: str | Path,
    cache_dir: str | Path,
    *,
    min_seconds: float,
    stereo: str,
    max_bad_share: float,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ScanResult:
    """Manifest of one corpus folder, kept in `cache_dir/manifests/` and brought up to date.

    Args:
        root: the corpus; hidden files and folders in it are skipped.
        cache_dir: gets `manifests/<name>-<hash>/` with manifest.parquet, quarantine.csv and files.parquet.
        min_seconds: shorter files are left out.
        stereo: "quarantine" leaves files of several channels out, "mix" keeps them (`read_audio` averages them).
        max_bad_share: largest share of files, 0 to 1, that may be left out.
        workers: threads that read headers; None chooses by the number of processors.
        progress: called with (files probed, files to probe).

    Raises:
        InputError: for a root that is missing, no folder, without audio or without speaker folders; for a setting out
            of range; or if more files than allowed are unusable (the list of them is written first).
    """
    check_settings(min_seconds, stereo, max_bad_share)
    root = checked_folder(root)
    key = f"{root}|{min_seconds!r}|{stereo}|{FILES_VERSION}"
    name = root.name or "root"
    folder = Path(cache_dir) / "manifests" / f"{name}-{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:12]}"
    listing = _list_speakers(root)
    remembered = remembered_files(folder)
    unchanged = remembered is not None and listing.equals(remembered.select(listing.column_names))
    result = _stored(name, folder) if unchanged else None
    if result is None:
        files = probe_changed(root, listing, remembered, workers or default_workers(), progress)
        result = _sort_out(root, name, files, folder, min_seconds, stereo)
    _check_share(result, max_bad_share)
    return result


def scan_folders(
    roots: list[str | Path],
    cache_dir: str | Path,
    *,
    min_seconds: float,
    stereo: str,
    max_bad_share: float,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ScanResult:
    """`scan_folder` for each root, joined.

    With several roots, speakers and utterance ids begin with the root's name, and with as many of its parents as make
    the names unique. Arguments and errors as in `scan_folder`; also InputError if roots overlap.
    """
    paths = [checked_folder(root) for root in roots]
    names = _unique_names(paths)
    results = [
        scan_folder(
            path,
            cache_dir,
            min_seconds=min_seconds,
            stereo=stereo,
            max_bad_share=max_bad_share,
            workers=workers,
            progress=progress,
        )
        for path in paths
    ]
    if len(results) == 1:
        return results[0]
    parts = [_prefixed(result, name) for result, name in zip(results, names, strict=True)]
    return ScanResult(
        name=" + ".join(names),
        manifest=concat_manifests([part.manifest for part in parts]),
        quarantined=[item for part in parts for item in part.quarantined],
        quarantine_files=tuple(file for part in parts if part.quarantined for file in part.quarantine_files),
    )


def check_settings(min_seconds: float, stereo: str, max_bad_share: float) -> None:
    """InputError for a setting of `scan_folder` that is out of range."""
    if not 0 <= min_seconds < math.inf:
        raise InputError(f"min_seconds={min_seconds} must be 0 or more")
    if stereo not in ("quarantine", "mix"):
        raise InputError(f"stereo={stereo!r} must be 'quarantine' or 'mix'")
    check_share("max_bad_share", max_bad_share)


def _unique_names(paths: list[Path]) -> list[str]:
    """The last parts of each path, equally many for all, so that no name is part of another."""
    if not paths:
        raise InputError("no corpus folder was given; give at least one")
    for i, path in enumerate(paths):
        for other in paths[:i]:
            if path.is_relative_to(other) or other.is_relative_to(path):
                raise InputError(f"{other} and {path} overlap, so that audio would count twice; give one of them")
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[1:][-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different absolute paths have different names")


def _prefixed(result: ScanResult, name: str) -> ScanResult:
    table = result.manifest
    for column in ("utterance", "speaker"):
        position = table.column_names.index(column)
        table = table.set_column(position, column, pc.binary_join_element_wise(name, table[column], "/"))
    items = [item._replace(path=f"{name}/{item.path}") for item in result.quarantined]
    return replace(result, manifest=table, quarantined=items)


def _list_speakers(root: Path) -> pa.Table:
    """`list_audio(root)`, or InputError if there are no speaker folders with audio."""
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder")
    listing = list_audio(root)
    if not listing.num_rows:
        raise InputError(f"{root}: holds no audio ({', '.join(AUDIO_SUFFIXES)}); {LAYOUT}")
    if not pc.any(pc.match_substring(listing["path"], "/")).as_py():
        raise InputError(f"{root}: audio lies directly in it (such as {listing['path'][0]}); {LAYOUT}")
    return listing


def _stored(name: str, folder: Path) -> ScanResult | None:
    """The last scan's result; None if a file of it is gone or damaged."""
    try:
        with open(folder / "quarantine.csv", newline="", encoding="utf-8") as file:
            items = [BadFile(*row) for row in list(csv.reader(file))[1:]]
        return ScanResult(name, read_manifest(folder / "manifest.parquet"), items, (folder / "quarantine.csv",))
    except (OSError, TypeError, ValueError):  # InputError of read_manifest is a ValueError
        return None


def _fault(root: Path, row: dict, min_seconds: float, stereo: str) -> BadFile | None:
    """Why a file is left out, or None."""
    path, samples, rate = row["path"], row["samples"], row["sample_rate"]
    if row["problem"]:
        return BadFile(path, "broken", row["problem"])
    if samples == 0:
        return BadFile(path, "empty", "0 samples" if row["size"] else "0 bytes")
    if "/" not in path:
        return BadFile(path, "outside a speaker folder", "lies directly in the root")
    if row["channels"] > 1 and stereo == "quarantine":
        return BadFile(path, "stereo", f"{row['channels']} channels")
    if samples < min_seconds * rate:
        missing = cut_off(root / path, content_of(root / path))
        if missing:  # libsndfile shortens such a file without a word
            return BadFile(path, "truncated", missing)
        return BadFile(path, "too short", f"{samples / rate:.3f} s, under {min_seconds:g} s")
    return None


def _sort_out(root: Path, name: str, files: pa.Table, folder: Path, min_seconds: float, stereo: str) -> ScanResult:
    """Split into manifest and quarantine, and store both; the table of files comes last, as the proof that all is."""
    rows = files.to_pylist()
    faults = [_fault(root, row, min_seconds, stereo) for row in rows]
    table = _manifest(root, [row for row, fault in zip(rows, faults, strict=True) if fault is None])
    items = [fault for fault in faults if fault is not None]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "files.parquet").unlink(missing_ok=True)
    write_manifest(table, folder / "manifest.parquet")
    write_rows(folder / "quarantine.csv", [BadFile._fields, *items])
    with replacing(folder / "files.parquet") as temporary:
        pq.write_table(files, temporary)
    return ScanResult(name, read_manifest(folder / "manifest.parquet"), items, (folder / "quarantine.csv",))


def _manifest(root: Path, rows: list[dict]) -> pa.Table:
    paths = [row["path"] for row in rows]
    columns = {
        "utterance": paths,
        "speaker": [path.split("/", 1)[0] for path in paths],
        "session": ["/".join(path.split("/")[1:-1]) for path in paths],
        "root": pa.array([str(root)] * len(rows), pa.string()).dictionary_encode(),
        "path": paths,
        "first_sample": [0] * len(rows),
        "samples": [row["samples"] for row in rows],
        "sample_rate": [row["sample_rate"] for row in rows],
        "split": [""] * len(rows),
        "gender": [""] * len(rows),
    }
    return pa.table(columns, schema=MANIFEST_SCHEMA)


def _check_share(result: ScanResult, max_bad_share: float) -> None:
    bad, total = len(result.quarantined), len(result.quarantined) + result.manifest.num_rows
    if not too_many(bad, total, max_bad_share):
        return
    examples = commonest(result.quarantined)
    if next(iter(count_left_out(result.quarantined))) == "stereo":
        examples += "; data.stereo=mix averages the channels"
    listed = result.quarantine_files[0]
    raise refusal(result.name, bad, total, "audio file", "data.max_bad_share", max_bad_share, examples, listed)
