"""VoxCeleb2: 6,112 speakers in AAC, none of them in VoxCeleb1 (Chung, Nagrani and Zisserman, 2018).

dev/aac/id00012/21Uxsk56VDQ/00001.m4a
test/aac/id00017/01dfn2spqyE/00001.m4a
"""

from pathlib import Path

from speakerlab.data.corpora.voxceleb1 import describe_video
from speakerlab.data.prepare.described import Recording, Speaker, read_columns

LAYOUT = "[dev|test]/aac/id00012/VIDEO/00001.m4a"
AUGMENT: dict[str, str] = {}


def describe(path: str) -> Recording | None:
    """The columns that a path tells; without a folder `dev` or `test` the split is that of the speaker list.

    >>> describe("test/aac/id00017/01dfn2spqyE/00001.m4a")[:4]
    ('id00017/01dfn2spqyE/00001', 'id00017', '01dfn2spqyE', 'test')
    """
    return describe_video(path, "id0")


def read_speakers(folder: Path) -> dict[str, Speaker]:
    """Gender and split of `meta/vox2_meta.csv`; it has no nationality."""
    path = folder / "meta" / "vox2_meta.csv"
    if not path.is_file():
        return {}
    rows = read_columns(path, ("VoxCeleb2 ID", "Gender", "Set"))
    return {speaker: Speaker(gender, "", split) for speaker, gender, split in rows}
