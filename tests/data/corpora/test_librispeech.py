import pytest

from speakerlab import InputError
from speakerlab.data.corpora.librispeech import describe, read_speakers
from speakerlab.data.prepare.described import Speaker


def test_paths():
    row = describe("LibriSpeech/train-clean-100/19/198/19-198-0003.flac")
    assert row[:4] == ("19-198-0003", "19", "198", "train-clean-100")
    assert describe("dev-clean/84/121123/84-121123-0000.wav").split == "dev-clean"
    assert describe("84/121123/84-121123-0000.wav").split == ""
    for path in ("dev-clean/84/121123/84-121124-0000.flac", "dev-clean/84/x.flac", "dev-clean/a/b/a-b-0000.flac"):
        assert describe(path) is None


def test_speakers(tmp_path):
    assert read_speakers(tmp_path) == {}
    (tmp_path / "meta").mkdir()
    table = tmp_path / "meta/SPEAKERS.TXT"
    table.write_text(
        "; pipe separated | metadata\n;ID  |SEX| SUBSET           |MINUTES| NAME\n"
        "14   | F | train-clean-360  | 25.03 | Kristin LeMoine\n60   | M | train-clean-100  | 20.18 | A | B\n"
    )
    assert read_speakers(tmp_path) == {
        "14": Speaker("f", "", "train-clean-360"),
        "60": Speaker("m", "", "train-clean-100"),
    }
    table.write_text("14 F\n")
    with pytest.raises(InputError, match=r"SPEAKERS\.TXT, line 1"):
        read_speakers(tmp_path)
