"""What the buttons do, without a server: numbers are those of the recognizer, faults are one line."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import onnx_files
import pytest
import soundfile
from recognizers import write_run

from speakerlab.inference import SpeakerRecognizer
from speakerlab.inference.kept_calibration import KeptCalibration
from speakerlab.inference.page.answers import Answers
from speakerlab.inference.page.limits import Limits
from speakerlab.inference.page.uploads import Uploads
from speakerlab.scoring.calibration import Calibration

COSINE = {"backend": "cosine", "norm": "none", "crops": 0, "measures": []}
CALIBRATION = KeptCalibration(COSINE, Calibration(("score",), (4.0,), -1.0), {"eer": 0.5}, {"eer": 0.0}, "dev.txt")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "small" / "2026-01-31_12-00-00")


@pytest.fixture
def uploads():
    found = Uploads(Limits(seconds=5.0, files=3))
    yield found
    found.close()


@pytest.fixture
def answers(run, uploads, tmp_path) -> Answers:
    recognizer = SpeakerRecognizer.load(run, device="cpu", gallery=tmp_path / "gallery.sqlite")
    return Answers(recognizer, uploads, uploads.limits, Drawn())


class Drawn(list):
    """Keeps what is to be drawn."""

    def __call__(self, *given) -> str:
        self.append(given)
        return "<svg></svg>"


def put(uploads: Uploads, name: str, pitch: float, seconds: float = 1.0, rate: int = 16000, channels: int = 1) -> str:
    """The path of an uploaded tone."""
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.1 * np.sin(2 * np.pi * pitch * time) + 0.02 * np.random.default_rng(int(pitch)).standard_normal(len(time))
    soundfile.write(uploads.folder / name, np.stack([tone] * channels, axis=1), rate)
    return str(uploads.folder / name)


def fact(html: str, name: str) -> str:
    return re.search(rf'data-fact="{name}">([^<]*)<', html)[1]


def test_the_score_is_the_recognizers(answers, uploads):
    paths = put(uploads, "a.flac", 100), put(uploads, "b.wav", 200, rate=44100, channels=2)
    expected = answers.recognizer.verify(*paths)
    verdict, first, second, found = answers.compare(*paths, -1.0)
    assert abs(float(fact(verdict, "score")) - expected.score) < 1e-4 and found.score == pytest.approx(expected.score)
    assert "The same speaker" in verdict and "unknown" in fact(verdict, "probability")
    assert "<b>a.flac</b>, 1.00 s" in first and "2 channels were averaged" in second and "44,100 Hz" in second
    for waveform, rate, picture, attention, seconds in answers.draw:
        assert (len(waveform), rate, picture.shape) == (16000, 16000, (98, 64))
        assert attention.mean() == pytest.approx(1.0, abs=1e-4) and seconds == pytest.approx(0.98)
    assert "Different speakers" in answers.decide(found, 1.0) and "The same speaker" in answers.decide(found, -1.0)
    assert answers.decide(None, 0.5) == ""


def test_a_calibration_gives_probabilities(answers, uploads):
    engine = answers.recognizer.engine
    engine.card = dataclasses.replace(engine.card, calibration=CALIBRATION)
    verdict, *_, found = answers.compare(put(uploads, "a.wav", 100), put(uploads, "b.wav", 101), 0.5)
    expected = 100 / (1 + np.exp(-(4.0 * found.score - 1.0)))
    assert fact(verdict, "probability").startswith(f"{expected:.1f} %")
    assert float(fact(verdict, "log-likelihood ratio")) == pytest.approx(4.0 * found.score - 1.0, abs=0.006)


def test_an_onnx_model_has_no_attention(uploads, tmp_path):
    model = onnx_files.write_model(tmp_path / "a.onnx")
    answers = Answers(SpeakerRecognizer.load(model), uploads, uploads.limits, Drawn())
    verdict, *pictures, found = answers.compare(put(uploads, "a.wav", 100), put(uploads, "b.wav", 101), 0.5)
    assert "no attention to draw" in verdict and all("<svg>" in one for one in pictures)
    assert abs(float(fact(verdict, "score")) - found.score) < 1e-4
    assert [given[3] for given in answers.draw] == [None, None]


def test_faults_are_one_line(answers, uploads, capsys):
    good, silent = put(uploads, "good.wav", 100), str(uploads.folder / "silent.wav")
    soundfile.write(silent, np.zeros(16000), 16000)
    noise = uploads.folder / "<b>noise.mp3"
    noise.write_bytes(bytes(range(256)) * 40)
    cases = {
        None: "upload or record the second recording first",
        silent: "silent.wav: is digital silence",
        str(noise): "&lt;b&gt;noise.mp3: ",
        put(uploads, "long.wav", 100, seconds=5.1): "lasts 5 s; this page takes at most 5 s",
        "/etc/passwd": "no file uploaded to this page",
    }
    for path, line in cases.items():
        verdict, first, second, found = answers.compare(good, path, 0.5)
        assert line in verdict and "did not work" in verdict and (first, second, found) == ("", "", None), path
        assert "<b>noise" not in verdict and str(uploads.folder) not in verdict
    assert "must lie in -1 to 1" in answers.compare(good, good, 7.0)[0]
    assert capsys.readouterr().err == ""  # mistakes are the user's own business


def test_a_fault_of_the_program_is_told_on_the_server(answers, uploads, capsys):
    path = put(uploads, "a.wav", 100)
    draw, answers.draw = answers.draw, None
    assert "a fault of the program, TypeError" in answers.compare(path, path, 0.5)[0]
    assert "Traceback" in capsys.readouterr().err
    answers.draw = draw
    assert "The same speaker" in answers.compare(path, path, 0.5)[0]


def test_enrol_and_identify(answers, uploads):
    anna, bob = [put(uploads, f"anna{i}.wav", 100 + i) for i in range(2)], put(uploads, "bob.wav", 300)
    assert "Nobody is enrolled yet" in answers.people()
    assert "nobody is enrolled yet" in answers.identify(bob, 0.5)[0]
    box, people = answers.enroll(" <i>Anna ", anna, None)
    assert "&lt;i&gt;Anna: 2 recordings added" in box and "One speaker is enrolled" in people and "<i>" not in people
    box, people = answers.enroll("Bob", [bob, "/etc/passwd"], None)
    assert "Bob: 1 recording added" in box and "not taken: that is no file uploaded" in box
    assert "2 speakers are enrolled" in people
    again = answers.recognizer.identify(anna[0], threshold=0.0)
    box, picture = answers.identify(anna[0], 0.0)
    assert (
        "It is &lt;i&gt;Anna" in box and f"<td>{again.candidates[0].score:.4f}</td>" in box and "anna0.wav" in picture
    )
    assert again.candidates[0].score < 0.99 and "A stranger" in answers.identify(anna[0], 0.99)[0]
    assert "1 were there already" in answers.enroll("Bob", None, bob)[0]


@pytest.mark.parametrize(
    "name, files, line",
    [
        ("", ["a"], "is no name of a speaker"),
        ("Anna", [], "upload or record a voice"),
        ("Anna", ["a"] * 4, "at most 3"),
    ],
)
def test_what_cannot_be_enrolled(answers, name, files, line):
    box, people = answers.enroll(name, files, None)
    assert line in box and "did not work" in box and "Nobody is enrolled yet" in people
