import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import TINY, voices, write_checkpoint

from speakerlab import InputError
from speakerlab.inference.engines.torch import TorchEngine
from speakerlab.inference.export import folder
from speakerlab.inference.export.folder import is_exported, write_folder


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> TorchEngine:
    run = tmp_path_factory.mktemp("run")
    return TorchEngine(write_checkpoint(run / "checkpoints" / "best.ckpt", *TINY), "cpu")


def test_it_is_the_same_model_elsewhere(engine, tmp_path):
    write_folder(engine, tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / "moved")
    again, waveforms = TorchEngine(tmp_path / "moved", "cpu"), list(voices(2, 0.7).numpy())
    np.testing.assert_array_equal(again(waveforms), engine(waveforms))
    assert again.card == engine.card
    assert is_exported(tmp_path / "moved") and not is_exported(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "moved").iterdir()}
    assert modes.keys() == {"model.safetensors", "config.json", "card.json", "README.md"}
    assert len({*modes.values()}) == 1  # whoever may read one may read all


def test_the_page(engine, tmp_path):
    write_folder(engine, tmp_path / "ecapa")
    page = (tmp_path / "ecapa" / "README.md").read_text()
    assert page.startswith(engine.card.markdown().rstrip())
    for text in (
        "Limits",
        'SpeakerRecognizer.load("ecapa")',
        "speakerlab verify ecapa a.wav b.wav",
        "safetensors",
    ):
        assert text in page


def test_another_export_replaces_it_as_a_whole(engine, tmp_path):
    write_folder(engine, tmp_path / "model")
    (tmp_path / "model" / "old.txt").touch()
    write_folder(engine, tmp_path / "model")
    assert not (tmp_path / "model" / "old.txt").exists() and len(list(tmp_path.iterdir())) == 1


def test_something_else_is_left_alone(engine, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("notes", "file"):
        with pytest.raises(InputError, match="something else"):
            write_folder(engine, tmp_path / name)
    assert (tmp_path / "notes" / "diary.txt").read_text() == (tmp_path / "file").read_text() == "mine"


def test_a_failure_leaves_the_old_one(engine, tmp_path, monkeypatch):
    write_folder(engine, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "save_file", full)
    with pytest.raises(OSError):
        write_folder(engine, tmp_path / "model")
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("fault", ["weights", "exchanged", "config", "card", "huge", "class"])
def test_damaged_folders(fault, engine, tmp_path):
    write_folder(engine, tmp_path / "model")
    weights, config, card = (tmp_path / "model" / name for name in ("model.safetensors", "config.json", "card.json"))
    if fault == "weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif fault == "exchanged":
        save_file({name: torch.zeros_like(value) for name, value in load_file(weights).items()}, weights)
    elif fault == "config":
        config.write_text("{" * 5000)
    elif fault == "card":
        card.unlink()
    elif fault == "huge":
        config.write_text(" " * (1 << 23))
    else:
        config.write_text(
            json.dumps(engine.config | {"model": {"encoder": {"_target_": "os.system", "command": "true"}}})
        )
    with pytest.raises(InputError) as refused:
        TorchEngine(tmp_path / "model", "cpu")
    assert "\n" not in str(refused.value)
