from speakerlab.data.corpora.voices import describe, read_speakers
from speakerlab.data.prepare.described import Speaker


def test_distant_speech():
    stem = "Lab41-SRI-VOiCES-rm1-babb-sp0032-ch004137-sg0007-mc01-stu-clo-dg150"
    row = describe(f"VOiCES_devkit/distant-16k/speech/train/rm1/babb/sp0032/{stem}.wav")
    assert row[:4] == (stem, "sp0032", "ch004137", "train")
    assert dict(row.extra) == {"room": "rm1", "distractor": "babb", "microphone": "mc01-stu-clo", "degrees": "150"}


def test_source_speech():
    stem = "Lab41-SRI-VOiCES-src-sp0115-ch121720-sg0008"
    row = describe(f"source-16k/test/sp0115/{stem}.wav")
    assert row[:4] == (stem, "sp0115", "ch121720", "test")
    assert row.extra["room"] == "source"


def test_noises_and_signals_have_no_speaker():
    row = describe("distant-16k/distractors/rm1/babb/Lab41-SRI-VOiCES-rm1-babb-mc01-stu-clo.wav")
    assert row[1:4] == ("", "", "distractors")
    row = describe("distant-16k/room_response/rm2/impulse/Lab41-SRI-VOiCES-rm2-impulse-mc05-stu-far.wav")
    assert row[1:4] == ("", "", "room_response")
    assert describe("distant-16k/other.wav") is None


def test_speakers(tmp_path):
    assert read_speakers(tmp_path) == {}
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/Lab41-SRI-VOiCES-speaker-gender-dataset.tbl").write_text(
        "Speaker Gender Dataset\n32 F train-clean-100\n0115  M  train-clean-360\n"
    )
    assert read_speakers(tmp_path) == {"sp0032": Speaker("f"), "sp0115": Speaker("m")}
