"""The command as typed, on untrained networks and on scores whose order is known."""

import csv
from pathlib import Path

import pytest
from scored_runs import scored_trials, write_checkpoint, write_run, write_text

from speakerlab.cli import compare
from speakerlab.cli.main import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def refusal(*arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["compare", *arguments])
    message = str(caught.value)
    assert message.startswith("error: ") and "\n" not in message
    return message


@pytest.fixture
def sides(tmp_path) -> list[str]:
    """A run whose targets score higher, and a file of scores over the same list."""
    run = write_run(tmp_path / "ecapa" / "1", scored_trials(better=2.0))
    write_checkpoint(run / "checkpoints" / "best.ckpt")
    return [str(run), str(write_text(tmp_path / "theirs.txt", scored_trials(seed=5)))]


def compared() -> list[dict[str, str]]:
    with open("out/comparison.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_runs_side_by_side(sides, capsys, monkeypatch):
    spent = {"parameters": 7, "macs": 10**9, "latency_ms": 1.5, "embeddings_per_second": 700.0, "memory_mb": 900.0}
    asked = []
    monkeypatch.setattr(compare, "_cost", lambda *arguments: asked.append(arguments) or spent)
    main(["compare", *sides, "--to", "out", "--draws", "200"])
    said = capsys.readouterr().out
    assert "dev: 24 target and 252 non-target trials of 8 speakers" in said
    assert "EER: ecapa is better than theirs.txt" in said and "out/report.html" in said
    assert Path("out", "plots", "roc_dev.png").is_file()
    first, second = compared()
    assert first["system"] == "ecapa" and float(first["eer"]) < float(second["eer"])
    assert (first["memory_mb"], second["memory_mb"]) == ("900.0", "")
    checkpoint = Path(sides[0], "checkpoints", "best.ckpt")
    assert float(first["disk_mb"]) == pytest.approx(checkpoint.stat().st_size / 1e6)
    ((config, trust, device),) = asked
    assert (config["model"]["encoder"]["channels"], trust, device) == (16, (), "cpu")
    assert "speakerlab compare" in Path("out", "comparison.md").read_text()


@pytest.mark.slow
def test_costs_are_measured_in_a_process_of_their_own(sides):
    main(["compare", *sides, "--to", "out", "--draws", "100"])
    first, _ = compared()
    assert 100 < float(first["memory_mb"]) < 5000 and int(first["parameters"]) > 1000
    assert all(float(first[name]) > 0 for name in ("latency_ms", "embeddings_per_second", "macs"))


def test_mistakes_are_named_before_anything_is_made(tmp_path):
    rows = scored_trials()
    one, two = write_run(tmp_path / "a" / "1", rows), write_run(tmp_path / "b" / "1", rows[:100])
    assert "different lists: a: dev of b is another list: 276 and 100 trials" in refusal(str(one), str(two))
    assert "give two or more" in refusal(str(one))
    assert "--draws 3 must be at least 100" in refusal(str(one), str(two), "--draws", "3")
    assert "device=tpu is not here" in refusal(str(one), str(two), "--device", "tpu")
    write_run(two, rows)
    (two / "checkpoints").mkdir()
    (two / "checkpoints" / "best.ckpt").write_text("nothing")
    assert "best.ckpt is damaged or none" in refusal(str(one), str(two))
    assert not (tmp_path / "outputs").exists()
    main(["compare", str(one), str(two), "--without-cost", "--draws", "100"])
    assert len(list((tmp_path / "outputs" / "compare").glob("*/report.html"))) == 1
