"""From a checkpoint to each kind of export, and every family of networks and features through ONNX."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx_files import make_model
from small_models import TINY, write_checkpoint

from speakerlab import InputError
from speakerlab.inference.card import METADATA_KEY
from speakerlab.inference.engines.onnx import OnnxEngine
from speakerlab.inference.engines.torch import TorchEngine
from speakerlab.inference.export import exporting
from speakerlab.inference.export.exporting import export, target_of
from speakerlab.inference.export.onnx import embed_one_by_one
from speakerlab.inference.export.program import load_program
from speakerlab.inference.export.specimens import find_specimens

ROOT = Path(__file__).resolve().parents[3]
SMALL = [*TINY, "pooling.bottleneck=8"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> tuple[TorchEngine, Path]:
    path = write_checkpoint(tmp_path_factory.mktemp("run") / "checkpoints" / "best.ckpt", *SMALL)
    return TorchEngine(path, "cpu"), path


@pytest.fixture(scope="module")
def traced(model):
    """The graph is traced once for all tests."""
    engine, _ = model
    return exporting.to_onnx(engine.network, engine.card.sample_rate)


@pytest.fixture
def trace(traced, monkeypatch):
    monkeypatch.setattr(exporting, "to_onnx", lambda network, sample_rate: traced)


def waveforms(*seconds: float) -> list[np.ndarray]:
    """Speech of so many seconds each, up to two. (In clean tones little holds next to nothing: torch's own rounding of
    the spectrum moves a small random network by 1e-4 there.)"""
    sentences = find_specimens(None, 16000).waveforms
    return [sentence[: round(length * 16000)] for sentence, length in zip(sentences, seconds, strict=False)]


def test_onnx_gives_the_networks_embeddings(model, trace, tmp_path):
    engine, path = model
    target, told = tmp_path / "deep" / "a.onnx", []
    found = export(engine, path, "onnx", target, note=told.append)
    assert found.size == target.stat().st_size and found.difference < 2e-5 and "synthetic voices" in found.recordings
    small = OnnxEngine(target, "cpu")
    assert small.card == engine.card and 400 <= small.shortest < 4000
    for lengths in ((1.0,), (0.3, 2.0, 0.3), (0.5,) * 5):
        exact = embed_one_by_one(engine.network)(waveforms(*lengths))
        np.testing.assert_allclose(small(waveforms(*lengths)), exact, atol=1e-4 * np.abs(exact).max())
    assert list(target.parent.iterdir()) == [target]
    assert told == ["tracing the network", f"checking on {found.recordings}"]


def test_the_file_says_nothing_of_this_machine(model, trace, tmp_path):
    export(*model, "onnx", tmp_path / "a.onnx")
    contents = (tmp_path / "a.onnx").read_bytes()
    for text in (str(ROOT), "site-packages", 'File "', "stack_trace", "<eval_with_key>"):
        assert text.encode() not in contents


def test_what_differs_is_not_written(model, trace, tmp_path):
    """Weights that are changed after the graph was traced."""
    _, path = model
    other = TorchEngine(path, "cpu")
    with torch.no_grad():
        other.network.encoder.stem.conv.weight *= 1.01
    for kind in ("onnx", "int8"):
        with pytest.raises(InputError, match="nothing is written: on 12 sentences of synthetic voices"):
            export(other, path, kind, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_is_refused_is_not_the_users_fault(model, tmp_path, monkeypatch):
    engine, path = model
    graph = make_model([onnx.helper.make_node("NoSuchOperator", ["waveform"], ["embedding"])])
    monkeypatch.setattr(exporting, "to_onnx", lambda network, sample_rate: (graph, 1))
    with pytest.raises(InputError, match=r"^Ecapa can't be exported to ONNX as ONNX Runtime takes it \(\w+: .*NoSuch"):
        export(engine, path, "onnx", tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind, most", [("fp16", 0.01), ("int8", 0.2)])
def test_smaller_models_say_how_they_drift(kind, most, model, trace, tmp_path):
    engine, path = model
    found = export(engine, path, kind, tmp_path / "a.onnx", max_drift=most)
    assert 0 < found.drift.mean <= found.drift.largest < most and found.drift.pairs == 66
    small, sound = OnnxEngine(tmp_path / "a.onnx", "cpu"), waveforms(2.0, 1.5, 2.0)
    told = {f"{kind} drift_largest": found.drift.largest, f"{kind} drift_mean": found.drift.mean}
    assert small.card.metrics == told and small.card.fingerprint == engine.card.fingerprint
    rows = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (small(sound), engine(sound))]
    assert np.abs(rows[0] @ rows[0].T - rows[1] @ rows[1].T).max() < most
    with pytest.raises(InputError, match="nothing is written.*--max-drift is 1e-07"):
        export(engine, path, kind, tmp_path / "b.onnx", max_drift=1e-7)
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]


def test_drift_needs_a_pair(model, trace, tmp_path):
    engine, path = model
    audio = tmp_path / "a.wav"
    soundfile.write(audio, waveforms(1.0)[0], 16000)
    with pytest.raises(InputError, match="two or more recordings"):
        export(engine, path, "fp16", tmp_path / "a.onnx", audio=[str(audio)])


@pytest.mark.slow
def test_a_program_of_torch(model, tmp_path):
    engine, path = model
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's own, of its archive's buffers
        found = export(engine, path, "torch", tmp_path / "a.pt2")
    assert found.difference < 1e-6
    sound = waveforms(0.4, 2.0)
    exact = embed_one_by_one(engine.network)(sound)
    np.testing.assert_allclose(load_program(tmp_path / "a.pt2")(sound), exact, atol=1e-5 * np.abs(exact).max())
    extra = {f"{METADATA_KEY}.json": ""}
    torch.export.load(tmp_path / "a.pt2", extra_files=extra)
    assert json.loads(extra[f"{METADATA_KEY}.json"])["fingerprint"] == engine.card.fingerprint
    assert str(ROOT).encode() not in (tmp_path / "a.pt2").read_bytes()


def test_a_folder(model, tmp_path):
    engine, path = model
    found = export(engine, path, "folder", tmp_path / "a")
    assert found.size == sum(file.stat().st_size for file in found.path.iterdir())
    assert TorchEngine(tmp_path / "a", "cpu").card == engine.card


def test_where_it_is_written(tmp_path):
    run = tmp_path / "run"
    assert target_of(run / "checkpoints" / "best.ckpt", "int8", None) == run / "export" / "best_int8.onnx"
    assert target_of(tmp_path / "best.ckpt", "folder", None) == tmp_path / "export" / "best"
    assert target_of(run, "torch", str(tmp_path / "x.pt2")) == tmp_path / "x.pt2"
    for kind, output in (("onnx", "a.ckpt"), ("fp16", "a"), ("torch", "a.pt"), ("onnx", ".onnx")):
        with pytest.raises(InputError, match="must end in"):
            target_of(run, kind, output)
    (tmp_path / "a.onnx").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        target_of(run, "onnx", str(tmp_path / "a.onnx"))


SSL = [
    *(f"model.encoder.{size}" for size in ("width=16", "layers=2", "heads=2", "hidden=32", "conv_width=8")),
    *(one for one in SMALL if one.startswith("model.encoder.") and "se_bottleneck" not in one),
    "pooling.bottleneck=8",
]
FAMILIES = {
    "xvector": ["model=xvector", "model.encoder.channels=32", "model.encoder.pooled_channels=64"],
    "resnet34": ["model=resnet34", "model.encoder.width=8"],
    "resnet18_image": ["model=resnet18_image"],
    "mobilenet_v2": ["model=mobilenet_v2"],
    "mel_cnn": ["model=mel_cnn"],
    "cnn_lstm": ["model=cnn_lstm"],
    "lstm": ["model=lstm"],
    "blstm": ["model=blstm"],
    "sincnet": ["model=sincnet"],
    "rawnet3": ["model=rawnet3", "model.encoder.channels=64"],
    "campplus": ["model=campplus"],
    "eres2net": ["model=eres2net"],
    "eres2netv2": ["model=eres2netv2"],
    "redimnet_b0": ["model=redimnet_b0"],
    "simam_resnet34": ["model=simam_resnet34"],
    "titanet": ["model=titanet"],
    "mfa_conformer": ["model=mfa_conformer"],
    "wav2vec2": ["model=wav2vec2_base_ecapa", *SSL],
    "wavlm": ["model=wavlm_base_ecapa", *SSL],
    "ecapa_speechbrain": ["model=ecapa_speechbrain"],
    "fusion": ["model=fusion"],
}
FRONT_ENDS = {
    "features": ["mfcc", "mel_spectrogram", "spectrogram", "lpc"],
    "norm": ["instance", "mean_variance", "min_max", "none", "pcen", "sliding", "training_set"],
    "frames": ["deltas", "fixed"],
}
CASES = FAMILIES | {f"{group}={one}": [*SMALL, f"{group}={one}"] for group, some in FRONT_ENDS.items() for one in some}
CASES |= {"autocorrelation": [*SMALL, "features=lpc", "features.method=autocorrelation"]}
CASES |= {"sliding variance": [*SMALL, "norm=sliding", "norm.variance=true"]}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_family_and_front_end(case, tmp_path):
    overrides = [one for one in CASES[case] if not (one == "features.num_mels=20" and "features=" in case)]
    engine = TorchEngine(write_checkpoint(tmp_path / "best.ckpt", *overrides), "cpu")
    found = export(engine, tmp_path / "best.ckpt", "onnx", tmp_path / "a.onnx")
    assert found.difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("family", ["lstm", "blstm", "cnn_lstm"])
def test_recurrent_networks_with_8_bit_weights(family, tmp_path):
    engine = TorchEngine(write_checkpoint(tmp_path / "best.ckpt", f"model={family}"), "cpu")
    found = export(engine, tmp_path / "best.ckpt", "int8", tmp_path / "a.onnx", max_drift=0.2)
    operators = {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert "DynamicQuantizeLSTM" in operators and 0 < found.drift.mean < 0.2
