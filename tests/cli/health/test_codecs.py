"""Every format on this machine, and formats that come out wrong."""

import numpy as np
import pytest
import soundfile

from speakerlab.cli.health import codecs
from speakerlab.data.audio import AUDIO_SUFFIXES


def test_every_format_is_tried():
    found = {one.name: one for one in codecs.look()}
    assert set(AUDIO_SUFFIXES) - {".aif"} <= set(found)  # as .aiff
    assert {one.state for one in found.values()} == {"good"}, [one for one in found.values() if one.state != "good"]


def other_tone(path):
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 600 * np.arange(16000) / 16000), 16000)


@pytest.mark.parametrize(
    "write, said",
    [
        (other_tone, "a tone of 440 Hz is read as 600 and 600 Hz"),
        (lambda path: path.write_bytes(b"noise" * 99), "can't be read: AudioError: "),
        (lambda path: None, "can't be read: AudioError: "),
    ],
)
def test_a_format_that_comes_out_wrong(tmp_path, write, said):
    found = codecs.decoded(tmp_path / "tone.wav", write, "soundfile")
    assert found.state == "broken" and found.text.startswith(said) and "soundfile" in found.mend


def test_an_encoder_that_is_missing(tmp_path):
    found = codecs.decoded(tmp_path / "tone.wma", codecs._by_av("no_such_codec"), "av")
    assert found.state == "broken" and found.mend == "pip install --force-reinstall av"


@pytest.mark.parametrize("hertz", [100, 440, 3000])
def test_pitch(hertz):
    assert codecs.pitch(np.sin(2 * np.pi * hertz * np.arange(8000) / 8000), 8000) == pytest.approx(hertz, abs=1)
