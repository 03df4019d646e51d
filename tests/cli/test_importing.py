"""The command as typed; what it reads of each peer is tested in tests/inference/peers."""

import json

import pytest
import torch

from speakerlab.cli.main import main


@pytest.fixture
def source(tmp_path):
    """A ResNet10 of WeSpeaker, with as few values as can be."""
    torch.manual_seed(0)
    state = {"conv1.weight": torch.randn(1, 1, 3, 3), "seg_1.weight": torch.randn(4, 16), "seg_1.bias": torch.randn(4)}
    norms, inner = {"bn1": 1}, 1
    for stage in range(1, 5):
        width = 2 ** (stage - 1)
        state[f"layer{stage}.0.conv1.weight"] = torch.randn(width, inner, 3, 3)
        state[f"layer{stage}.0.conv2.weight"] = torch.randn(width, width, 3, 3)
        norms |= {f"layer{stage}.0.bn1": width, f"layer{stage}.0.bn2": width}
        if stage > 1:
            state[f"layer{stage}.0.shortcut.0.weight"] = torch.randn(width, inner, 1, 1)
            norms[f"layer{stage}.0.shortcut.1"] = width
        inner = width
    for name, width in norms.items():
        state |= {f"{name}.{part}": torch.rand(width) for part in ("weight", "bias", "running_mean", "running_var")}
    torch.save(state, tmp_path / "avg_model.pt")
    return tmp_path / "avg_model.pt"


def test_words(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["import", "wespeaker", str(source)])
    out = capsys.readouterr().out
    assert (tmp_path / "wespeaker_resnet10.ckpt").is_file()
    for words in (
        "a ResNet of WeSpeaker: 1,",
        "embeddings of 4",
        "fbank_hamming, norm=mean, 16,000 Hz",
        "no config.yaml",
    ):
        assert words in out
    with pytest.raises(SystemExit, match="error: wespeaker_resnet10.ckpt is there already"):
        main(["import", "wespeaker", str(source)])


def test_json(source, tmp_path, capsys):
    main(["import", "wespeaker", str(source), "-o", str(tmp_path / "out.ckpt"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["checkpoint"] == str(tmp_path / "out.ckpt") and found["model"] == "ResNet of WeSpeaker"
    assert (found["peer"], found["embed_dim"], found["features"], found["sample_rate"]) == (
        "wespeaker", 4, "fbank_hamming", 16000
    )  # fmt: skip
    assert found["left_out"] == [] and found["speakers"] == 0


def test_mistakes(source, tmp_path, capsys):
    with pytest.raises(SystemExit, match="error: .*none.pt: there is no such file"):
        main(["import", "wespeaker", str(tmp_path / "none.pt")])
    with pytest.raises(SystemExit, match="neither an ECAPA-TDNN nor a ResNet of SpeechBrain: it begins with conv1"):
        main(["import", "speechbrain", str(source), "-o", str(tmp_path / "out.ckpt")])
    with pytest.raises(SystemExit):
        main(["import", "nemo", str(source)])
    assert "invalid choice: 'nemo'" in capsys.readouterr().err
    assert not (tmp_path / "out.ckpt").exists()
