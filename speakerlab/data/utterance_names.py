"""Which rows of a manifest a list names, whatever the audio suffix: VoxCeleb lists .wav where trees hold .flac."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speakerlab.data.audio import AUDIO_SUFFIXES

SUFFIX = rf"(?i)({'|'.join(suffix.replace('.', '[.]') for suffix in AUDIO_SUFFIXES)})$"


def rows_named(table: pa.Table, names: Sequence[str]) -> np.ndarray:
    """Row of each name, `(names,)`, -1 where there is none; a name with another audio suffix is taken where the exact
    one is missing."""
    wanted, have = pa.array(names, pa.string()), table["utterance"].combine_chunks()
    rows = pc.index_in(wanted, value_set=have)
    if rows.null_count:
        rows = pc.coalesce(rows, pc.index_in(without_suffix(wanted), value_set=without_suffix(have)))
    return pc.fill_null(rows, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def without_suffix(names: pa.Array) -> pa.Array:
    """Names without an audio suffix."""
    return pc.replace_substring_regex(names, SUFFIX, "")
