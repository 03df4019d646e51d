"""VoxCeleb1: 1,251 speakers, each in a folder with one folder a video (Nagrani, Chung and Zisserman, 2017).

    dev/wav/id10001/1zcIwhmdeo4/00001.wav
    test/wav/id10270/5r0dWxy17C8/00001.wav

Trees that hold `dev` and `test` in one (`wav/id.../`) are told apart by the speaker.
"""

import re
from pathlib import Path

from speakerlab.data.prepare.described import Recording, Speaker, read_columns, stem_of

LAYOUT = "[dev|test]/wav/id10001/VIDEO/00001.wav"
AUGMENT: dict[str, str] = {}
# The 40 speakers of the verification test set, those whose names begin with E.
TEST_SPEAKERS = frozenset(f"id{number}" for number in range(10270, 10310))


def describe(path: str) -> Recording | None:
    """The columns that a path tells.

    >>> describe("dev/wav/id10001/1zcIwhmdeo4/00001.wav")[:4]
    ('id10001/1zcIwhmdeo4/00001', 'id10001', '1zcIwhmdeo4', 'dev')
    """
    recording = describe_video(path, "id1")
    if recording is None or recording.split:
        return recording
    return recording._replace(split="test" if recording.speaker in TEST_SPEAKERS else "dev")


def describe_video(path: str, speakers: str) -> Recording | None:
    """The layout of VoxCeleb1 and 2; the split is that of a folder `dev` or `test`, or "" where there is none.

    Args:
        path: below the corpus' root.
        speakers: how their names begin, which tells one corpus from the other.
    """
    *folders, speaker, video, _ = ["", "", *path.split("/")]
    if not re.fullmatch(rf"{speakers}\d{{4}}", speaker):
        return None
    split = next((folder for folder in folders if folder in ("dev", "test")), "")
    return Recording(f"{speaker}/{video}/{stem_of(path)}", speaker, video, split)


def read_speakers(folder: Path) -> dict[str, Speaker]:
    """Gender, nationality and split of `meta/vox1_meta.csv`."""
    path = folder / "meta" / "vox1_meta.csv"
    if not path.is_file():
        return {}
    columns = ("VoxCeleb1 ID", "Gender", "Nationality", "Set")
    return {row[0]: Speaker(*row[1:]) for row in read_columns(path, columns)}
