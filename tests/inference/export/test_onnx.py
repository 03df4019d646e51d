"""Of a graph: what is in the file. That it gives the network's embeddings is in `test_exporting`."""

import numpy as np
import onnx_ir
import pytest
import torch
from onnx_files import CARD, make_model

from speakerlab import InputError
from speakerlab.inference.card import METADATA_KEY
from speakerlab.inference.engines.onnx import SHORTEST, OnnxEngine
from speakerlab.inference.engines.onnx_file import read_metadata
from speakerlab.inference.export import onnx
from speakerlab.inference.export.onnx import check, embed_one_by_one, failure, shortest, tidy, write_onnx
from speakerlab.inference.export.specimens import Specimens


class MeanAndSquare(torch.nn.Module):
    """As `onnx_files.mean_and_square`, of 400 samples or more."""

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        if waveform.shape[1] < 400:
            raise ValueError("too short")
        return torch.stack([waveform.mean(dim=1), waveform.square().mean(dim=1)], dim=1)


def specimens(*lengths: int) -> Specimens:
    generator = np.random.default_rng(0)
    waveforms = [generator.uniform(-1, 1, length).astype(np.float32) for length in lengths]
    return Specimens(waveforms, "noise", np.zeros((0, 2), np.int64))


def test_the_file_has_card_and_least_length(tmp_path):
    model = make_model(card="another's")
    write_onnx(model, CARD, 400, tmp_path / "a.onnx")
    assert read_metadata(tmp_path / "a.onnx") == {METADATA_KEY: CARD.to_json(), SHORTEST: "400"}
    engine = OnnxEngine(tmp_path / "a.onnx", "cpu")
    assert (engine.card, engine.shortest) == (CARD, 400)


def test_a_layer_called_as_the_output(tmp_path):
    model = onnx_ir.from_proto(make_model())
    model.graph[0].outputs[0].name = "embedding"  # as torch calls what its nn.Embedding gives
    tidy(model)
    write_onnx(onnx_ir.to_proto(model), CARD, 400, tmp_path / "a.onnx")
    assert check(OnnxEngine(tmp_path / "a.onnx", "cpu"), MeanAndSquare(), specimens(5000, 700), 400) < 1e-6


def test_too_large_for_onnx(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "LARGEST", 100)
    with pytest.raises(InputError, match="--to folder"):
        write_onnx(make_model(), CARD, 1, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_shortest():
    assert shortest(MeanAndSquare(), 16000) == 400


def test_the_check_sees_a_difference_in_one_recording(tmp_path):
    write_onnx(make_model(), CARD, 400, tmp_path / "a.onnx")
    engine, network = OnnxEngine(tmp_path / "a.onnx", "cpu"), MeanAndSquare()
    assert check(engine, network, specimens(5000, 700, 3000), 400) < 1e-6
    assert check(engine, network, specimens(500), 400) < 1e-6  # of one recording, and shorter halves are too short

    def wrong(waveforms):
        rows = engine(waveforms)
        rows[1] *= 1.01
        return rows

    with pytest.raises(InputError, match=r"nothing is written: on noise .* by 0\.01 of their length"):
        check(wrong, network, specimens(5000, 700, 3000), 400)
    with pytest.raises(InputError, match="by nan"):
        check(lambda waveforms: engine(waveforms) * np.float32("nan"), network, specimens(5000, 700), 400)


def test_the_check_sees_batch_mates(tmp_path):
    def mixed(waveforms):
        rows = embed_one_by_one(MeanAndSquare())(waveforms)
        lengths = [len(waveform) for waveform in waveforms]
        same = [place for place, length in enumerate(lengths) if lengths.count(length) > 1]
        rows[same] = rows[same].mean(axis=0)
        return rows

    with pytest.raises(InputError, match="nothing is written"):
        check(mixed, MeanAndSquare(), specimens(5000, 700, 3000), 400)


def test_failures_are_one_line():
    network = torch.nn.Module()
    network.branches = {"": torch.nn.Module()}
    network.branches[""].encoder = torch.nn.Linear(1, 1)
    try:
        try:
            raise KeyError("no operator\nfor aten::this")
        except KeyError as cause:
            raise RuntimeError("long\nstory") from cause
    except RuntimeError as error:
        line = failure(network, "to ONNX", error)
    assert line.startswith("Linear can't be exported to ONNX (KeyError: ") and "\n" not in line
