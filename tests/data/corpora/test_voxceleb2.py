import pytest

from speakerlab.data.corpora.voxceleb1 import describe as describe_voxceleb1
from speakerlab.data.corpora.voxceleb2 import describe, read_speakers
from speakerlab.data.prepare.described import Speaker


def test_paths():
    assert describe("dev/aac/id00012/21Uxsk56VDQ/00001.m4a")[:4] == (
        "id00012/21Uxsk56VDQ/00001",
        "id00012",
        "21Uxsk56VDQ",
        "dev",
    )
    assert describe("voxceleb2_wav/id00012/21Uxsk56VDQ/00001.wav").split == ""  # only the speaker table can tell
    assert describe("dev/aac/00001.m4a") is None


@pytest.mark.parametrize(
    "text",
    [
        "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,dev \nid00017 ,n000017 ,f ,test \n",
        # as it is handed out since the names of the speakers are in it
        "Name \tVoxCeleb2 ID \tVGGFace2 ID \tGender \tSet \n"
        "A_B,_Jr \tid00012 \tn000012 \tm \tdev \nC_D \tid00017 \tn000017 \tf \ttest \n",
    ],
)
def test_speakers(tmp_path, text):
    assert read_speakers(tmp_path) == {}
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/vox2_meta.csv").write_text(text)
    assert read_speakers(tmp_path) == {"id00012": Speaker("m", "", "dev"), "id00017": Speaker("f", "", "test")}


def test_the_other_voxceleb_is_not_taken_for_this_one():
    assert describe("dev/wav/id10001/1zcIwhmdeo4/00001.wav") is None
    assert describe_voxceleb1("dev/aac/id00012/21Uxsk56VDQ/00001.m4a") is None
