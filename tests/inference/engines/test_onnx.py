import json
import resource
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper
from onnx_files import CARD, make_model, mean_and_square, write_model

from speakerlab import InputError
from speakerlab.inference.engines import load_engine, onnx
from speakerlab.inference.engines.onnx import SHORTEST, OnnxEngine


def waveform(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)


def test_embeddings_in_order_and_of_each_alone(tmp_path):
    engine = load_engine(write_model(tmp_path / "a.onnx"), "cpu")
    waveforms = [waveform(length, seed) for seed, length in enumerate([900, 500, 900, 20_000, 500, *[900] * 20])]
    expected = [[each.mean(dtype=np.float64), np.square(each, dtype=np.float64).mean()] for each in waveforms]
    found = engine(waveforms)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert engine.card == CARD and engine.device == "cpu"
    assert engine([]).shape == (0, 2)
    with pytest.raises(InputError, match="precision=bf16 is for PyTorch"):
        load_engine(tmp_path / "a.onnx", "cpu", precision="bf16")


def test_nothing_else_is_imported(tmp_path):
    """Neither torch nor what configs and training need; nor the library that writes ONNX."""
    write_model(tmp_path / "a.onnx")
    program = """
        import sys
        import numpy as np
        from speakerlab.inference.engines import load_engine
        print(load_engine(sys.argv[1])([np.full(1000, 0.5, np.float32)])[0].tolist())
        heavy = ("torch", "torchaudio", "pytorch_lightning", "omegaconf", "hydra", "onnx", "matplotlib", "sklearn")
        print(sorted(set(heavy) & set(sys.modules)))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "a.onnx")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [json.loads(lines[0]), lines[1]] == [[0.5, 0.25], "[]"]


@pytest.mark.parametrize(
    "card, reason",
    [
        (None, "no card"),
        ("", None),
        ("{}", "card"),
        ("no json", "card"),
        (json.dumps({"name": "another program's"}), "card"),
        (replace(CARD, sample_rate=-5).to_json(), "sample_rate"),
        ("[" * 100_000, "card"),
    ],
)
def test_cards(card, reason, tmp_path):
    path = write_model(tmp_path / "a.onnx", card=card)
    if reason is None:
        assert OnnxEngine(path, "cpu").card == CARD
        return
    with pytest.raises(InputError, match=reason) as refused:
        OnnxEngine(path, "cpu")
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_graph_of_other_ends(tmp_path):
    nodes = [helper.make_node("Identity", ["features"], ["embedding"])]
    path = write_model(tmp_path / "a.onnx", nodes, ends=("features", "embedding"))
    with pytest.raises(InputError, match="takes no waveforms"):
        OnnxEngine(path, "cpu")


def test_a_graph_that_onnx_refuses(tmp_path):
    nodes = [helper.make_node("NoSuchOperator", ["waveform"], ["embedding"])]
    with pytest.raises(InputError, match="can't load it") as refused:
        OnnxEngine(write_model(tmp_path / "a.onnx", nodes), "cpu")
    assert "\n" not in str(refused.value)


def test_embeddings_of_another_size_or_none(tmp_path):
    engine = OnnxEngine(write_model(tmp_path / "a.onnx", embed_dim=3), "cpu")
    with pytest.raises(InputError, match="3 values"):
        engine([waveform(100)])
    nodes = [*mean_and_square()[:3], helper.make_node("Log", ["mean"], ["log"])]
    nodes.append(helper.make_node("Concat", ["log", "power"], ["embedding"], axis=1))
    engine = OnnxEngine(write_model(tmp_path / "b.onnx", nodes), "cpu")
    with pytest.raises(InputError, match="finite"):
        engine([-np.ones(100, np.float32)])


def test_too_short(tmp_path):
    model = make_model()
    model.metadata_props.add(key=SHORTEST, value="400")
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    engine = OnnxEngine(tmp_path / "a.onnx", "cpu")
    assert engine([waveform(400)]).shape == (1, 2)
    with pytest.raises(InputError, match=r"399 samples are too short: a.onnx takes 400 \(0.03 s\)"):
        engine([waveform(5000), waveform(399)])


@pytest.mark.parametrize("value", ["-3", "1e9", "9" * 5000, "٣"])
def test_a_crafted_least_length(value, tmp_path):
    model = make_model()
    model.metadata_props.add(key=SHORTEST, value=value)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert OnnxEngine(tmp_path / "a.onnx", "cpu").shortest == 1


@pytest.mark.parametrize("shape", [[2**19, 2**19], [2**62]])
def test_a_tensor_of_a_terabyte_that_a_graph_makes(shape, tmp_path, capfd):
    """Neither loading nor running it takes the memory; nothing but the refusal is told."""
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["zeros"]),
        helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Add", ["waveform", "zero"], ["moved"]),
        helper.make_node("Slice", ["moved", "none", "two", "last"], ["embedding"]),
    ]
    constants = {"huge": shape, "none": [0], "two": [2]}
    path = write_model(tmp_path / "a.onnx", nodes, {name: np.array(value) for name, value in constants.items()})
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    engine = OnnxEngine(path, "cpu")
    with pytest.raises(InputError, match="fails on 500 samples") as refused:
        engine([waveform(500)])
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
    assert time.monotonic() - began < 30.0
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_goes_on_for_hours(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "PATIENCE", 0.5)
    names = ["weights", *(f"x{step}" for step in range(3000))]
    nodes = [helper.make_node("MatMul", ["weights", one], [two]) for one, two in zip(names, names[1:])]
    nodes += [
        helper.make_node("ReduceMax", [names[-1]], ["zero"], keepdims=0),
        helper.make_node("Add", ["waveform", "zero"], ["moved"]),
        helper.make_node("Slice", ["moved", "none", "two", "last"], ["embedding"]),
    ]
    constants = {"weights": np.zeros((700, 700), np.float32), "none": np.array([0]), "two": np.array([2])}
    engine = OnnxEngine(write_model(tmp_path / "a.onnx", nodes, constants), "cpu", threads=1)
    began = time.monotonic()
    with pytest.raises(InputError, match="it took over 1 s"):
        engine([waveform(500)])
    assert time.monotonic() - began < 30.0


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_device_that_is_not_here(device, tmp_path):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("it is here")
    with pytest.raises(InputError, match="onnxruntime-gpu"):
        OnnxEngine(write_model(tmp_path / "a.onnx"), device)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cpu:1", ""])
def test_no_device(device, tmp_path):
    with pytest.raises(InputError, match="is not here"):
        OnnxEngine(write_model(tmp_path / "a.onnx"), device)
