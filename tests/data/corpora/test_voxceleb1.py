import pytest

from speakerlab import InputError
from speakerlab.data.corpora.voxceleb1 import TEST_SPEAKERS, describe, read_speakers
from speakerlab.data.prepare.described import Speaker


@pytest.mark.parametrize(
    "path, split",
    [
        ("dev/wav/id10001/1zcIwhmdeo4/00001.wav", "dev"),
        ("test/wav/id10270/5r0dWxy17C8/00001.wav", "test"),
        ("voxceleb1/test/wav/id10270/5r0dWxy17C8/00001.flac", "test"),
        ("wav/id10001/1zcIwhmdeo4/00001.wav", "dev"),  # both in one folder, as torchaudio wants it
        ("wav/id10309/0b1inHMAr6o/00001.wav", "test"),
        ("id10270/5r0dWxy17C8/00001.wav", "test"),
        ("dev/wav/id10270/5r0dWxy17C8/00001.wav", "dev"),  # a folder counts more
    ],
)
def test_paths(path, split):
    speaker, video, name = path.split("/")[-3:]
    assert describe(path)[:4] == (f"{speaker}/{video}/{name.split('.')[0]}", speaker, video, split)


def test_a_video_named_like_a_split():
    assert describe("dev/wav/id10001/test/00001.wav").split == "dev"


@pytest.mark.parametrize("path", ["00001.wav", "id10001/00001.wav", "dev/wav/10001/x/00001.wav", "dev/id1/x/00001.wav"])
def test_other_paths_are_not_its(path):
    assert describe(path) is None


def test_40_test_speakers():
    assert len(TEST_SPEAKERS) == 40 and min(TEST_SPEAKERS) == "id10270" and max(TEST_SPEAKERS) == "id10309"


def write(folder, text: str) -> None:
    (folder / "meta").mkdir()
    (folder / "meta/vox1_meta.csv").write_text(text, encoding="utf-8")


def test_speakers(tmp_path):
    assert read_speakers(tmp_path) == {}
    header = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
    write(tmp_path, "\ufeff" + header + "id10001\tSome_One\tm\tIreland\tdev\nid10270\tE\tf\tUSA\ttest\n")
    assert read_speakers(tmp_path) == {
        "id10001": Speaker("m", "Ireland", "dev"),
        "id10270": Speaker("f", "USA", "test"),
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("<html>not found</html>\n", "has no column 'VoxCeleb1 ID'"),
        ("", "has no column 'VoxCeleb1 ID'"),
        ("VoxCeleb1 ID\tGender\tNationality\tSet\nid10001\tm\n", "line 2: has fewer columns"),
    ],
)
def test_no_table(tmp_path, text, message):
    write(tmp_path, text)
    with pytest.raises(InputError, match=f"vox1_meta.csv.*{message}"):
        read_speakers(tmp_path)
