"""The command as typed; what an export holds is tested in tests/inference/export."""

import json

import pytest
from recognizers import write_run

from speakerlab.cli.export import lines, plain
from speakerlab.cli.main import main
from speakerlab.inference import SpeakerRecognizer
from speakerlab.inference.export.drift import Drift
from speakerlab.inference.export.exporting import Exported


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "small" / "2026-01-31_12-00-00")


def refusal(*arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["export", *map(str, arguments)])
    return str(caught.value.code)


def test_a_folder(run, folders, tmp_path, capsys):
    target = tmp_path / "with blanks" / "small"
    main(["export", str(run), "--to", "folder", "-o", str(target)])
    size = sum(file.stat().st_size for file in target.iterdir())
    assert capsys.readouterr() == (
        f"written      {target} ({size / 1e6:.1f} MB: safetensors, config, card and README)\n"
        f"use          speakerlab verify A.wav B.wav --model '{target}'\n",
        "",
    )
    pair = folders.development / "s0/a/0.flac", folders.development / "s1/a/0.flac"
    given, exported = (SpeakerRecognizer.load(model, device="cpu") for model in (run, target))
    assert exported.card == given.card and exported.verify(*pair).score == given.verify(*pair).score


def test_json_and_the_usual_place(run, capsys):
    main(["export", str(run), "--to", "folder", "--json"])
    target = run / "export" / "best"
    size = sum(file.stat().st_size for file in target.iterdir())
    assert json.loads(capsys.readouterr().out) == {"kind": "folder", "path": str(target), "bytes": size}


def test_an_exported_folder_is_exported_again(run, tmp_path, capsys):
    main(["export", str(run), "--to", "folder", "-o", str(tmp_path / "one")])
    main(["export", str(tmp_path / "one"), "--to", "folder", "-o", str(tmp_path / "two")])
    for file in (tmp_path / "one").iterdir():
        if file.name != "README.md":  # which names the folder
            assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_mistakes_are_one_line(run, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    (tmp_path / "silent").mkdir()
    for arguments, said in {
        (tmp_path / "gone.ckpt",): "gone.ckpt: there is no such file",
        (tmp_path / "text.ckpt",): "text.ckpt is damaged or none",
        (tmp_path / "full",): "holds no checkpoints/best.ckpt",
        ("model.onnx",): "model.onnx: is exported already; give the checkpoint",
        (run, "--max-drift", "-1"): "--max-drift -1.0 must be 0 or more",
        (run, "--max-drift", "nan"): "--max-drift nan must be 0 or more",
        (run, "-o", "a.ckpt"): "-o a.ckpt: must end in .onnx",
        (run, "--to", "torch", "-o", "a.onnx"): "-o a.onnx: must end in .pt2",
        (run, "--to", "folder", "-o", tmp_path / "full"): "full: there is something else already",
        (run, "-o", tmp_path / "x.onnx", "--audio", tmp_path / "gone.wav"): "gone.wav: can't be opened",
        (run, "-o", tmp_path / "x.onnx", "--audio", tmp_path / "silent"): "there is no audio file",
    }.items():
        line = refusal(*arguments)
        assert line.startswith("error: ") and said in line and "\n" not in line, line
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "silent", "text.ckpt"]
    assert refusal(run, "--to", "tflite") == "2"


def test_what_was_measured_is_said(tmp_path):
    drift = Drift(0.012, 0.003, 66, "12 recordings", 0.05, 0.04)
    found = Exported("int8", tmp_path / "a.onnx", 2_000_000, "12 recordings", None, drift, (40.0, 20.0))
    assert lines(found) == [
        f"written      {tmp_path}/a.onnx (2.0 MB: ONNX with 8-bit weights)",
        "score drift  0.01200 at most, 0.00300 on average: cosine of 66 pairs of 12 recordings",
        "EER          5.00 %, and 4.00 % before",
        "speed        40 times real time, PyTorch 20 times (one by one, here)",
        f"use          speakerlab verify A.wav B.wav --model {tmp_path}/a.onnx",
    ]
    assert plain(found)["drift"] == {
        "largest": 0.012, "mean": 0.003, "pairs": 66, "recordings": "12 recordings", "eer": 0.05, "eer_exact": 0.04
    }  # fmt: skip
    assert plain(found)["times_real_time"] == {"export": 40.0, "pytorch": 20.0}
    exact = Exported("torch", tmp_path / "a.pt2", 1000, "3 recordings", 2e-6, None, (1.0, 1.0))
    assert lines(exact)[1] == "checked      2e-06 of an embedding's length from PyTorch: 3 recordings"
    assert "drift" not in plain(exact) and plain(exact)["largest_difference"] == 2e-6
    assert not [line for line in lines(exact) if line.startswith("use")]  # such a file is none for these commands


@pytest.mark.slow
def test_verify_by_the_exported_model_gives_the_same_score(run, folders, capsys):
    main(["export", str(run)])
    out, err = capsys.readouterr()
    model = run / "export" / "best.onnx"
    assert out.startswith(f"written      {model} (") and "tracing the network\nchecking on 12 sentences" in err
    scores, pair = [], (folders.development / "s0/a/0.flac", folders.development / "s1/a/0.flac")
    for one in (run, model):
        with pytest.raises(SystemExit) as caught:
            main(["verify", *map(str, pair), "--model", str(one), "--device", "cpu", "--json"])
        scores.append((caught.value.code, json.loads(capsys.readouterr().out)["score"]))
    assert scores[0][0] == scores[1][0] and scores[1][1] == pytest.approx(scores[0][1], abs=1e-4)
