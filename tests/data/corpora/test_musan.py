from speakerlab.data.corpora.musan import describe


def test_paths():
    assert describe("musan/noise/free-sound/noise-free-sound-0000.wav")[:4] == (
        "noise-free-sound-0000",
        "",
        "free-sound",
        "noise",
    )
    assert describe("speech/librivox/speech-librivox-0001.flac").split == "speech"
    assert describe("musan/other/x/y.wav") is None and describe("y.wav") is None
