"""Checkpoints, runs and exported folders as engines: what their cards say, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from recognizers import SMALL, STEP, write_checkpoint, write_run
from safetensors.torch import save_file

from speakerlab import InputError
from speakerlab.build import load_checkpoint, network_from_checkpoint
from speakerlab.inference.calibration import keep
from speakerlab.inference.card import fingerprint
from speakerlab.inference.engines import load_engine
from speakerlab.inference.engines import torch as torch_engine
from speakerlab.inference.engines.torch import CARD, CONFIG, NO_THRESHOLD, WEIGHTS, TorchEngine, network_config
from speakerlab.inference.kept_calibration import KeptCalibration
from speakerlab.scoring.calibration import Calibration


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "small" / "2026-01-31_12-00-00")


def test_the_card_of_a_run(run):
    card = load_engine(run, "cpu").card
    contents = load_checkpoint(run / "checkpoints" / "best.ckpt")
    weights = {key.removeprefix("network."): value for key, value in contents["state_dict"].items()}
    assert (card.name, card.run) == ("small", "small/2026-01-31_12-00-00")
    assert (card.sample_rate, card.embed_dim, card.encoder, card.speakers) == (16000, 8, "Ecapa", 2)
    assert card.parameters == sum(p.numel() for p in network_from_checkpoint(contents).parameters())
    assert card.trained_on == "mini: 2 speakers, 40 utterances"
    assert card.metrics == {"development eer": 0.1} and card.threshold == 0.25
    assert card.threshold_from == "equal error rate on the run's development trials"
    plain = {name: value.numpy() for name, value in weights.items()}
    assert card.fingerprint == fingerprint(network_config(contents["config"]), plain.items())


def test_a_checkpoint_alone_has_no_threshold(tmp_path):
    card = load_engine(write_checkpoint(tmp_path / "best.ckpt"), "cpu").card
    assert card.threshold is None and card.threshold_from == NO_THRESHOLD and card.metrics == {}
    assert card.run == "small"


@pytest.mark.parametrize("norm, threshold", [("none", 0.75), ("s", 0.25)])
def test_the_calibration_of_cosines_gives_the_threshold(tmp_path, norm, threshold):
    checkpoint = write_run(tmp_path / "run") / "checkpoints" / "best.ckpt"
    recipe = {"backend": "cosine", "norm": norm, "crops": 0, "measures": [], "train": None, "cohort": "/data/me/vox2"}
    kept = KeptCalibration(recipe, Calibration(("score",), (2.0,), -1.0), {"eer": 0.75}, {"eer": 0.5}, "/a/dev.txt")
    keep(checkpoint, kept)
    card = load_engine(checkpoint, "cpu").card
    assert card.calibration == replace(kept, trials="dev.txt", recipe=recipe | {"cohort": "vox2"})
    assert "/a/" not in card.to_json() and "/data/" not in card.to_json() and card.threshold == threshold
    if norm == "none":
        assert card.threshold_from == "equal error rate on dev.txt, kept with the model"
    assert card.fingerprint == load_engine(write_checkpoint(tmp_path / "other.ckpt"), "cpu").card.fingerprint


def test_batches_are_what_each_waveform_gives_alone(run):
    engine = TorchEngine(run, "cpu")
    waveforms = [0.1 * np.random.default_rng(n).standard_normal(8000 + 3000 * n).astype(np.float32) for n in range(3)]
    rows = engine(waveforms)
    assert rows.shape == (3, 8) and rows.dtype == np.float32
    for row, waveform in zip(rows, waveforms, strict=True):
        with torch.inference_mode():
            alone = engine.network(torch.from_numpy(waveform)[None])[0].numpy()
        np.testing.assert_allclose(row, alone, rtol=1e-4, atol=1e-5)


def test_no_more_goes_through_the_network_at_once_than_suits_it(run, monkeypatch):
    engine, shapes = TorchEngine(run, "cpu"), []
    engine.network.register_forward_pre_hook(lambda network, given: shapes.append(tuple(given[0].shape)))
    seconds = (0.9, 0.5, 2.0, 0.6, 1.0, 0.7)
    waveforms = [
        0.1 * np.random.default_rng(n).standard_normal(round(16000 * length)).astype(np.float32)
        for n, length in enumerate(seconds)
    ]
    whole = engine(waveforms)
    assert shapes == [(6, 32000)]
    monkeypatch.setitem(torch_engine.AT_ONCE, "cpu", 1.8)
    shapes.clear()
    rows = engine(waveforms)
    assert shapes == [(1, 32000), (1, 16000), (2, 14400), (2, 9600)]
    np.testing.assert_allclose(rows, whole, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_near_float32(run):
    waveforms = [0.1 * np.random.default_rng(n).standard_normal(9000 + 500 * n).astype(np.float32) for n in range(3)]
    exact = TorchEngine(run, "cpu")(waveforms)
    engine, types = load_engine(run, "cpu", precision="bf16"), set()
    for module in engine.network.modules():
        if isinstance(module, torch.nn.Conv1d):
            module.register_forward_hook(lambda module, given, found: types.add(found.dtype))
    rows = engine(waveforms)
    assert types == {torch.bfloat16} and rows.dtype == np.float32
    apart = np.linalg.norm(rows - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert 1e-6 < apart.max() < 0.03
    with pytest.raises(InputError, match="^precision=fp8 must be one of float32, bf16$"):
        TorchEngine(run, "cpu", precision="fp8")


def test_what_is_too_short_says_so(run):
    with pytest.raises(InputError, match=r"^0\.02 s is too short for this model \("):
        TorchEngine(run, "cpu")([np.zeros(300, np.float32)])


def test_a_setting_of_another_kind_that_fits_the_weights(run, tmp_path):
    contents = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    contents["config"]["model"]["encoder"]["dilations"][0] = True  # counts as 1 until something is convolved
    torch.save(contents, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="its config is damaged") as caught:
        TorchEngine(tmp_path / "a.ckpt", "cpu")([np.ones(16000, np.float32)])
    assert "\n" not in str(caught.value)


def exported(run, folder):
    """A folder as an export writes it."""
    engine = TorchEngine(run, "cpu")
    folder.mkdir()
    save_file({name: value.contiguous() for name, value in engine.network.state_dict().items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(engine.config))
    (folder / CARD).write_text(engine.card.to_json())
    return engine


def test_an_exported_folder_is_the_same_model(run, tmp_path):
    engine = exported(run, tmp_path / "out")
    again = load_engine(tmp_path / "out", "cpu")
    assert again.card == engine.card and again.config == engine.config
    waveform = [0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)]
    np.testing.assert_array_equal(again(waveform), engine(waveform))


def test_a_fusion_forgets_where_its_branches_came_from(tmp_path):
    """However its branches were given, it is one model; and paths of this machine go nowhere."""

    def fusion(folder, first):
        base = ["model=fusion", f"model.branches={{a: {first}, b: {{overrides: {SMALL}}}}}", "model.fusion.embed_dim=8"]
        return write_checkpoint(tmp_path / folder / "best.ckpt", base=base)

    one, other = (write_checkpoint(tmp_path / place / "best.ckpt") for place in ("one", "other"))
    given = fusion("x", f"{{ckpt: {one}}}"), fusion("y", f"{{ckpt: {other}}}"), fusion("z", f"{{overrides: {SMALL}}}")
    assert str(one) in json.dumps(load_checkpoint(given[0])["config"])
    engines = [TorchEngine(checkpoint, "cpu") for checkpoint in given]
    assert len({engine.card.fingerprint for engine in engines}) == 1
    exported(given[0], tmp_path / "out")
    assert str(tmp_path) not in (tmp_path / "out" / CONFIG).read_text()
    assert load_engine(tmp_path / "out", "cpu").card.fingerprint == engines[0].card.fingerprint


def test_a_front_end_forgets_the_file_of_its_weights():
    encoder = {"_target_": "speakerlab.encoders.ssl_ecapa.SslEcapa", "kind": "wavlm", "weights": "/data/wavlm.pt"}
    parts = dict.fromkeys(("features", "norm", "pooling", "frames")) | {"loader": {"sample_rate": 16000}}
    config = network_config(parts | {"model": {"encoder": encoder}, "seed": 1})
    assert config == parts | {"model": {"encoder": encoder | {"weights": None}}}
    assert encoder["weights"] == "/data/wavlm.pt"  # the checkpoint's own stays


def test_exported_folders_that_are_refused(run, tmp_path):
    card = exported(run, tmp_path / "out").card
    whole = {name: (tmp_path / "out" / name).read_bytes() for name in (WEIGHTS, CONFIG, CARD)}
    config = json.loads(whole[CONFIG])
    foreign = config | {"norm": {"_target_": "os.system"}}
    large = json.loads(whole[CONFIG])
    large["model"]["encoder"]["channels"] = 16000
    for name, content, message in [
        (CARD, replace(card, fingerprint="0" * 64).to_json(), "the card is of other weights"),
        (CARD, "{", "card is damaged"),
        (CONFIG, "[]", "no config of a network"),
        (CONFIG, "{}", "config lacks"),
        (CONFIG, "[" * 100_000, "no whole model"),
        (CONFIG, " " * (5 << 20), "larger than any"),
        (CONFIG, json.dumps(foreign), r"names os\.system"),
        (CONFIG, json.dumps(large), "larger network than its weights"),
        (WEIGHTS, b"\xff" * 100, "no whole model"),
        (WEIGHTS, b"", "no whole model"),
    ]:
        (tmp_path / "out" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InputError, match=message) as caught:
            load_engine(tmp_path / "out", "cpu")
        assert "\n" not in str(caught.value)
        (tmp_path / "out" / name).write_bytes(whole[name])
    (tmp_path / "out" / CARD).unlink()
    with pytest.raises(InputError, match="no whole model"):
        load_engine(tmp_path / "out", "cpu")


def test_a_run_on_saved_embeddings_has_no_network_for_audio(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "best.ckpt")
    contents = load_checkpoint(checkpoint)
    contents["config"]["data"] = {"_target_": "speakerlab.data.corpora.embeddings.EmbeddingsCorpus"}
    torch.save(contents, checkpoint)
    with pytest.raises(InputError, match="trained on saved embeddings"):
        load_engine(checkpoint, "cpu")


def test_metrics_are_those_of_the_checkpoints_own_epoch(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "metrics" / "val_metrics.csv").write_text(f"epoch,step,eer,threshold\n1,{STEP - 1},0.3,0.9\n2,{STEP},nan,\n")
    card = load_engine(run, "cpu").card
    assert card.metrics == {} and card.threshold is None


def test_a_damaged_table_of_metrics_tells_nothing(tmp_path):
    run = write_run(tmp_path / "small" / "2026-01-31_12-00-00")
    (run / "metrics" / "val_metrics.csv").write_text("step,eer\n" + "x" * 200_000)
    assert TorchEngine(run, "cpu").card.metrics == {}


@pytest.mark.parametrize("flushed", [False, True])
def test_the_programs_own_way_with_denormals_stays(run, flushed):
    engine = load_engine(run, "cpu")
    torch.set_flush_denormal(flushed)
    engine([np.ones(16000, np.float32)])
    assert (np.float32(1e-39) * np.float32(1) == 0) == flushed
