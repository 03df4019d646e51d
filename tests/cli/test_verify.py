"""The command as typed: its numbers are the API's, its exit status the decision."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from onnx_files import CARD, write_model
from recognizers import write_checkpoint, write_run

from speakerlab.cli.main import main
from speakerlab.inference import SpeakerRecognizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "small" / "2026-01-31_12-00-00")


@pytest.fixture
def pair(folders) -> tuple[str, str]:
    return str(folders.development / "s0/a/0.flac"), str(folders.development / "s1/a/0.flac")


def verify(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["verify", *map(str, arguments), "--device", "cpu"])
    return caught.value.code


@pytest.mark.parametrize(
    "threshold, status, said", [(-1, 0, "the same speaker"), (1, 3, "another speaker"), (None, None, "speaker")]
)
def test_the_decision_is_the_status(run, pair, capsys, threshold, status, said):
    expected = SpeakerRecognizer.load(run, device="cpu").verify(*pair)
    given = [] if threshold is None else ["--threshold", threshold]
    found = verify(*pair, "--model", run, *given)
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert found == (status if threshold is not None else 0 if expected.same else 3)
    assert said in first and first.endswith(f"score {expected.score:.4f}") and err == ""
    source = "equal error rate on the run's development trials" if threshold is None else "given"
    assert second == f"threshold         {expected.threshold if threshold is None else threshold:.4f} ({source})"


def test_json_is_one_object_with_the_apis_numbers(run, pair, capsys):
    recognizer = SpeakerRecognizer.load(run, device="cpu")
    expected = recognizer.verify(*pair)
    assert verify(*pair, "--model", run, "--json") == (0 if expected.same else 3)
    found = json.loads(capsys.readouterr().out)
    assert found.pop("score") == pytest.approx(expected.score, abs=1e-6)
    assert found == {
        "first": pair[0],
        "second": pair[1],
        "same": expected.same,
        "threshold": 0.25,
        "llr": None,
        "probability": None,
        "notes": [],
        "model": {"name": "small", "fingerprint": recognizer.card.fingerprint},
    }


def test_without_a_threshold_there_is_no_decision_and_no_success(tmp_path, pair, capsys, monkeypatch):
    monkeypatch.setenv("SPEAKERLAB_MODEL", str(write_checkpoint(tmp_path / "best.ckpt")))
    assert verify(*pair, "--json") == 4
    out, err = capsys.readouterr()
    assert json.loads(out)["same"] is None
    assert re.fullmatch(r"note: no threshold, so no decision: .*save_calibration=true.*\n", err)
    assert verify(*pair) == 4
    assert re.fullmatch(r"no decision       score -?\d\.\d{4}\n", capsys.readouterr().out)


def test_what_is_wrong_is_one_line(run, pair, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SPEAKERLAB_MODEL", raising=False)
    (tmp_path / "text.wav").write_text("hello")
    first = pair[0]
    for arguments, said in {
        (first, "none.wav", "--model", run): "none.wav: can't be opened",
        (first, tmp_path / "text.wav", "--model", run): "text.wav: not readable as audio",
        (first, first, "--model", run, "--threshold", "2"): "threshold=2.0 must lie in -1 to 1",
        (first, first, "--model", run, "--p-target", "1"): "p_target=1.0 must lie between 0 and 1",
        (first, first): "which model? Give --model PATH",
    }.items():
        status = verify(*arguments)
        assert status.startswith("error: ") and said in status and "\n" not in status
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("SPEAKERLAB_MODEL", str(tmp_path / "gone.ckpt"))
    assert verify(first, first).endswith("(SPEAKERLAB_MODEL names it)")


HEAVY = ("torch", "torchaudio", "omegaconf", "hydra", "pytorch_lightning", "pyarrow", "rich", "numpy", "scipy")
IMPORTED = f"""
import sys
from speakerlab.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    sys.exit(f"{{end.code}} {{sorted(set({HEAVY}) & sys.modules.keys())}}")
"""


def in_a_new_process(*arguments: object) -> subprocess.CompletedProcess:
    """The command; at the end of standard error its status and which heavy libraries it imported."""
    command = [sys.executable, "-c", IMPORTED, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


def test_help_needs_nothing_and_says_how_the_model_is_chosen():
    done = in_a_new_process("verify", "--help")
    assert done.stderr == "0 []\n"
    assert "\n  --model PATH\n  $SPEAKERLAB_MODEL\nPATH is" in done.stdout and "\n  3  another speaker\n" in done.stdout


def test_onnx_needs_of_these_numpy_alone(pair, tmp_path):
    model = write_model(tmp_path / "a.onnx", card=replace(CARD, threshold=0.5).to_json())
    done = in_a_new_process("verify", pair[0], pair[0], "--model", model)
    assert done.stdout.startswith("the same speaker  score 1.0000\n")
    assert done.stderr == "0 ['numpy']\n"
