"""Speakers kept out of the shards: plain files beside them, and development trials over these."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab import InputError
from speakerlab.data import Progress
from speakerlab.data.audio import AudioError
from speakerlab.data.corpus import hold_out_speakers, select_rows
from speakerlab.data.manifest import file_of, replacing, speakers_of
from speakerlab.data.shards.encoding import encode
from speakerlab.data.trial_drawing import draw_trials
from speakerlab.data.trials import write_trials

HELDOUT = "heldout"
TRIALS = "trials.txt"


def split_heldout(table: pa.Table, wanted: str, seed: int) -> tuple[pa.Table, pa.Table]:
    """`(rows to pack, rows of the speakers kept out)`.

    Args:
        table: manifest.
        wanted: how many speakers to draw, or a file that names one a line.
        seed: of the draw.

    Raises:
        InputError: if there is no such file or speaker, or fewer than two speakers are left on either side.
    """
    if wanted.isdecimal():
        return hold_out_speakers(table, int(wanted), seed, "--heldout-speakers ")
    try:
        names = {line.strip() for line in Path(wanted).expanduser().read_text(encoding="utf-8").splitlines()} - {""}
    except OSError as error:
        raise InputError(f"{wanted}: give a number of speakers or a file that names them ({error.strerror})") from error
    speakers = set(speakers_of(table))
    unknown = sorted(names - speakers)
    if unknown:
        raise InputError(f"{wanted}: {len(unknown)} of its speakers are not in the manifest, such as {unknown[0]!r}")
    if not 2 <= len(names) <= len(speakers) - 2:
        raise InputError(f"{wanted}: names {len(names)} of {len(speakers)} speakers; leave at least 2 on either side")
    held_out = pc.is_in(table["speaker"], value_set=pa.array(sorted(names))).to_numpy()
    return select_rows(table, ~held_out), select_rows(table, held_out)


def write_heldout(
    rows: pa.Table,
    folder: Path,
    audio_format: str,
    trials: int,
    seed: int,
    workers: int,
    progress: Progress | None = None,
) -> list[list[str]]:
    """Write `folder/heldout/SPEAKER/00000.flac` ... and `folder/heldout/trials.txt`; files that are there stay.

    Args:
        rows: of the speakers kept out.
        folder: of the shards.
        audio_format: as the shards'.
        trials: how many to draw.
        seed: of the trials.
        workers: threads.
        progress: called with (files done, files in all).

    Returns:
        the rows that can't be read: utterance, file, reason. No trial is drawn over them.

    Raises:
        InputError: if what can be read gives no trials.
    """
    rows = rows.sort_by([("speaker", "ascending"), ("utterance", "ascending")])
    root = folder / HELDOUT

    def write(row: int) -> str | list[str]:
        """The name of the row's file below `root`, or why there is none."""
        cells = {name: table[row].as_py() for name, table in columns.items()}
        place = f"{quote(cells['speaker'], safe='')}/{row:06d}"
        for file in root.glob(f"{place}.*"):
            return str(file.relative_to(root))
        source = file_of(rows, row)
        part = cells["first_sample"], cells["samples"], cells["sample_rate"]
        try:
            encoded = encode(source, *part, audio_format)
        except AudioError as error:
            return [cells["utterance"], str(source), error.reason]
        path = root / f"{place}.{encoded.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            draft.write_bytes(encoded.data)
        return f"{place}.{encoded.suffix}"

    columns = {name: rows[name] for name in ("utterance", "speaker", "first_sample", "samples", "sample_rate")}
    names = []
    with ThreadPoolExecutor(workers) as pool:
        for name in pool.map(write, range(rows.num_rows)):
            names.append(name)
            if progress is not None:
                progress(len(names), rows.num_rows)
    readable = np.array([isinstance(name, str) for name in names], dtype=bool)
    files = pa.array([name for name in names if isinstance(name, str)], pa.string())
    usable = select_rows(rows, readable)
    usable = usable.set_column(usable.column_names.index("utterance"), "utterance", files)
    write_trials(draw_trials(usable, trials, seed), root / TRIALS)
    return [name for name in names if not isinstance(name, str)]
