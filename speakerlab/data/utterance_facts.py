"""What is known about the utterances of a trial list besides their speakers: gender, session and noise."""

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from speakerlab.data.corpora.voxceleb1 import read_speakers
from speakerlab.data.manifest import MANIFEST, read_manifest

SPEAKERS = "speakers.csv"  # in a corpus's folder: with the columns speaker and gender
GENDERS = {"f": "f", "female": "f", "w": "f", "m": "m", "male": "m"}
SNR = "snr"  # a manifest's column of signal-to-noise ratios in dB, where its maker knows them


@dataclass(frozen=True, eq=False)
class UtteranceFacts:
    """What is known about some utterances, `(utterances,)` each.

    Attributes:
        gender: "f", "m" or "".
        session: name of the recording occasion, "" where it is unknown.
        snr: signal-to-noise ratio in dB, NaN where it is unknown.
    """

    gender: NDArray[np.str_]
    session: NDArray[np.str_]
    snr: NDArray[np.float64]


def find_facts(files: Sequence[Path], speakers: NDArray, roots: Sequence[Path] = ()) -> UtteranceFacts:
    """Look for facts in the manifests of the folders that the files lie in and of the roots, then in `speakers.csv` or
    VoxCeleb1's `meta/vox1_meta.csv`. Where no manifest tells sessions, folders do: see `sessions_by_folder`.

    Args:
        files: of the utterances.
        speakers: `(utterances,)` a name or number each.
        roots: further folders that may hold a manifest.
    """
    gender, session = np.full(len(files), "", object), np.full(len(files), "", object)
    snr = np.full(len(files), np.nan)
    paths = pa.array([str(file) for file in files], pa.string())
    above = list(_folders_above(files))
    for folder in dict.fromkeys((*above, *roots)):
        if (folder / MANIFEST).is_file():
            table = read_manifest(folder / MANIFEST)
            rows = _rows_of(table, paths)
            there = np.flatnonzero(rows >= 0)
            found = table.take(pa.array(rows[there]))
            gender[there] = [GENDERS.get(name.lower(), "") for name in found["gender"].to_pylist()]
            session[there] = found["session"].to_pylist()
            if SNR in table.column_names:
                snr[there] = pc.cast(found[SNR], pa.float64()).to_numpy()
    for folder in above:
        known = _genders(folder)
        if known:
            for row in np.flatnonzero(gender == ""):
                if files[row].is_relative_to(folder):
                    parts = files[row].relative_to(folder).parts
                    gender[row] = next((known[part] for part in parts if part in known), "")
    if not any(session):
        session = sessions_by_folder(files, speakers)
    return UtteranceFacts(gender.astype(str), session.astype(str), snr)


def sessions_by_folder(files: Sequence[Path], speakers: NDArray) -> NDArray[np.str_]:
    """Each file's folder as its session; unknown ("") where no speaker has two folders, as in `speaker/file`."""
    folders = np.array([os.path.dirname(file) for file in files])
    pairs = set(zip(np.asarray(speakers).tolist(), folders.tolist(), strict=True))
    several = len(pairs) > len({speaker for speaker, _ in pairs})
    return folders if several else np.full(len(files), "")


def _folders_above(files: Sequence[Path]) -> Iterator[Path]:
    """Every folder above some file once, the nearest first."""
    seen: set[Path] = set()
    level = {file.parent for file in files}
    while level:
        yield from sorted(level)
        seen |= level
        level = {folder.parent for folder in level} - seen


def _rows_of(table: pa.Table, paths: pa.Array) -> NDArray[np.int64]:
    """Row of each file, -1 where there is none; of several in one file, the first."""
    have = pc.binary_join_element_wise(table["root"].cast(pa.string()), table["path"], "/").combine_chunks()
    return pc.fill_null(pc.index_in(paths, value_set=have), -1).to_numpy().astype(np.int64)


def _genders(folder: Path) -> dict[str, str]:
    """Speaker -> "f" or "m" of a corpus's folder; empty where it doesn't say, without those that it calls both."""
    rows = [(name, speaker.gender) for name, speaker in read_speakers(folder).items()]
    if (folder / SPEAKERS).is_file():
        with open(folder / SPEAKERS, newline="", encoding="utf-8", errors="replace") as file:
            rows += [(row.get("speaker") or "", row.get("gender") or "") for row in csv.DictReader(file)]
    known: dict[str, set[str]] = {}
    for name, gender in rows:
        known.setdefault(name, set()).add(GENDERS.get(gender.strip().lower(), ""))
    return {name: next(iter(found)) for name, found in known.items() if len(found) == 1 and found != {""}}
