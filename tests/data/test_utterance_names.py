import pyarrow as pa

from speakerlab.data.utterance_names import rows_named, without_suffix


def test_rows_are_found_whatever_the_suffix():
    table = pa.table({"utterance": ["a/1.flac", "a/1.wav", "b.c/2.ogg", "d"]})
    names = ["a/1.wav", "b.c/2.WAV", "d.m4a", "a/1.mp3", "b/2.ogg", "a/1", "D"]
    # An exact name wins; where two rows differ by the suffix alone, the first is taken.
    assert rows_named(table, names).tolist() == [1, 2, 3, 0, -1, 0, -1]
    assert rows_named(table, []).tolist() == []


def test_only_audio_suffixes_go():
    names = pa.array(["a.wav", "a.FLAC", "a.b", "wav", "a.wav/b", "xwav"])
    assert without_suffix(names).to_pylist() == ["a", "a", "a.b", "wav", "a.wav/b", "xwav"]
