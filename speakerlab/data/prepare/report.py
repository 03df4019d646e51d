"""What was prepared, on one screen."""

import os
from collections import Counter
from pathlib import Path

import pyarrow.compute as pc

from speakerlab.data.amounts import counted, duration
from speakerlab.data.audio import PYAV_SUFFIXES
from speakerlab.data.left_out import count_left_out
from speakerlab.data.manifest import seconds_of
from speakerlab.data.prepare.rows import Prepared

SPLITS_SHOWN = 8


def summary(prepared: Prepared) -> str:
    """Counts by split against those of the whole corpus, gender, what was rejected and why, and where things lie."""
    table = prepared.manifest
    lines = [f"{prepared.corpus}: {_counts(table)}"]
    lines += _splits(prepared)
    people = table.filter(pc.not_equal(table["speaker"], ""))  # the others are noises and the like
    gender = Counter(dict(zip(people["speaker"].to_pylist(), people["gender"].to_pylist(), strict=True)).values())
    if any(gender):
        lines.append(
            "speakers: " + ", ".join(f"{count:,} {name or 'unknown'}" for name, count in sorted(gender.items()))
        )
    lines += _rejected(prepared)
    lines += _lists(prepared)
    slow = sum(path.lower().endswith(PYAV_SUFFIXES) for path in table["path"].to_pylist())
    if slow:
        lines.append(
            f"{slow:,} files stay AAC and take 2 to 3 times as long to read as FLAC; --format flac converts them"
        )
    lines += [f"{key:18} {folder}" for key, folder in augment_folders(prepared)]
    lines.append(f"manifest           {prepared.to / 'manifest.parquet'}")
    return "\n".join(lines)


def augment_folders(prepared: Prepared) -> list[tuple[str, str]]:
    """(setting, folder) of the parts that serve as augmentation material."""
    table, found = prepared.manifest, []
    for key, split in prepared.augment.items():
        rows = table.filter(pc.equal(table["split"], split))
        roots = pc.unique(rows["root"].cast("string")).to_pylist()
        for root in roots:
            paths = rows.filter(pc.equal(rows["root"].cast("string"), root))["path"].to_pylist()
            # The folder named by the kind of material, where there is one, holds all of it.
            common = os.path.commonpath([os.path.dirname(path) for path in paths])
            parts = Path(common).parts
            kind = parts.index(split) + 1 if split in parts else len(parts)
            found.append((key, str(Path(root, *parts[:kind]))))
    return found


def _counts(table) -> str:
    speakers = pc.count_distinct(table["speaker"].filter(pc.not_equal(table["speaker"], ""))).as_py()
    of = f" of {counted(speakers, 'speaker')}" if speakers else ""
    noun = "utterance" if speakers else "recording"
    return f"{counted(table.num_rows, noun)}{of}, {duration(float(seconds_of(table).sum()))}"


def _splits(prepared: Prepared) -> list[str]:
    table = prepared.manifest
    names = sorted(set(table["split"].to_pylist()))
    lines = []
    for name in names[:SPLITS_SHOWN]:
        rows = table.filter(pc.equal(table["split"], name))
        line = f"  {name or '(no split)':18} {_counts(rows)}"
        if name in prepared.expected:
            speakers, utterances = prepared.expected[name]
            whole = f"{utterances:,}{f' of {speakers:,} speakers' if speakers else ''}"
            line += " (complete)" if utterances == rows.num_rows else f" (the whole corpus: {whole})"
        lines.append(line)
    if len(names) > SPLITS_SHOWN:
        lines.append(f"  and {len(names) - SPLITS_SHOWN} more splits")
    return lines


def _rejected(prepared: Prepared) -> list[str]:
    bad, total = len(prepared.rejected), len(prepared.rejected) + prepared.manifest.num_rows
    if not bad:
        return [f"rejected: none of {total:,} files"]
    lines = [f"rejected: {bad:,} of {total:,} files ({100 * bad / total:.2f} %), all in {prepared.to / 'rejected.csv'}"]
    for reason, (files, example) in count_left_out(prepared.rejected).items():
        lines.append(f"  {files:6,} {reason:18} such as {example}")
    return lines


def _lists(prepared: Prepared) -> list[str]:
    if not prepared.missing_lists:
        return []
    names = ", ".join(prepared.missing_lists)
    return [f"not there: {names}; --fetch-lists downloads them, or put them beside the tree and run again"]
