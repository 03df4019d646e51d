"""The command as typed."""

import json

import pytest

from speakerlab.cli import models
from speakerlab.cli.main import main
from speakerlab.reports.models import parameters_in


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")


def test_some_models(capsys):
    main(["models", "ecapa", "resnet18_image"])
    out = capsys.readouterr().out
    (ecapa,) = (line for line in out.splitlines() if "ecapa" in line)
    assert all(text in ecapa for text in ("6,194,432", "6.2 M", "192", "fbank", "1.01"))
    assert "spectrogram, image" in out and "lstm" not in out and "MACs" not in out


def test_json(capsys):
    main(["models", "ecapa", "lstm", "--json"])
    ecapa, lstm = json.loads(capsys.readouterr().out)["models"]
    assert (ecapa["name"], ecapa["parameters"], ecapa["embed_dim"]) == ("ecapa", 6_194_432, 192)
    assert ecapa["features"] == "fbank" and ecapa["macs"] is ecapa["milliseconds"] is None
    assert ecapa["published"]["parameters"]["value"] == "6.2 M" and ecapa["published"]["eer"]["source"]
    assert lstm["name"] == "lstm"
    with pytest.raises(SystemExit):
        main(["models", "ecapa", "--json", "--markdown", "page.md"])
    assert "not allowed with" in capsys.readouterr().err


def test_a_typo_names_the_nearest():
    with pytest.raises(SystemExit) as caught:
        main(["models", "ecappa"])
    assert str(caught.value).startswith("error: ecappa: there is no conf/model/ecappa.yaml; did you mean ecapa?")


def test_a_page_with_cost(capsys, monkeypatch, tmp_path):
    prepared = []
    monkeypatch.setattr("speakerlab.training.hardware.prepare_cpu", lambda threads: prepared.append(threads))
    monkeypatch.setattr("speakerlab.inference.cost.milliseconds", lambda cfg: 12.3)
    path = tmp_path / "docs" / "models.md"
    main(["models", "mobilenet_v2", "--cost", "--markdown", str(path)])
    assert list(parameters_in(path.read_text())) == ["mobilenet_v2"]
    text = path.read_text().replace("\n", " ")
    assert "| 0.104 G |  | 256 | 12 | fbank |" in text
    assert f"`speakerlab models mobilenet_v2 --cost --markdown {path}`" in text
    assert "torch 2" in text and models.processor() in text
    assert prepared == [1]
