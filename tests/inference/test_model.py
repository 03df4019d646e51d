"""From what the user names to files, lists, devices and networks."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from omegaconf import OmegaConf
from tones import write_tones

from speakerlab import InputError
from speakerlab.build import build_network
from speakerlab.data.corpus import Corpus
from speakerlab.data.development import write_development, write_development_trials
from speakerlab.data.manifest import write_manifest
from speakerlab.data.trials import read_trials
from speakerlab.inference.model import (
    check_unseen,
    described,
    find_checkpoint,
    find_rows,
    find_trials,
    load_systems,
    output_folder,
    pick_devices,
    run_folder,
    task_of,
)

CONFIG = {
    "seed": 3,
    "loader": {"sample_rate": 16000},
    "features": {"_target_": "speakerlab.features.fbank.Fbank", "num_mels": 8},
    "frames": {},
    "norm": {},
    "pooling": {"_target_": "speakerlab.encoders.pooling.statistics.Statistics"},
    "model": {
        "encoder": {
            "_target_": "speakerlab.encoders.ecapa.Ecapa",
            "channels": 16,
            "pooled_channels": 24,
            "embed_dim": 6,
            "se_bottleneck": 8,
        }
    },
}


def evaluation(**changes):
    plain = {
        "embeddings": None,
        "trials": None,
        "trials_root": None,
        "output_dir": None,
        "split": None,
        "manifest": None,
        "baselines": False,
    }
    return OmegaConf.create(plain | changes)


def save(path, config=CONFIG, seed: int = 0):
    """A checkpoint of an untrained network: its path and the network."""
    torch.manual_seed(seed)
    network = build_network(config)
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    weights["loss.classifier.weight"] = torch.zeros(2, 6)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"config": config, "speakers": ["a", "b"], "state_dict": weights}, path)
    return path, network.eval()


def add(root, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.zeros(4000), 8000)


def test_finding_a_checkpoint(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match=f"ckpt={tmp_path / 'run'}: this folder holds no checkpoints/best.ckpt"):
        find_checkpoint(str(tmp_path / "run"))
    for name in ("last.ckpt", "best.ckpt"):  # the best wins once it is there
        (folder / name).touch()
        assert find_checkpoint(str(tmp_path / "run")) == folder / name
    assert find_checkpoint(str(folder / "last.ckpt")) == folder / "last.ckpt"


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_checkpoint("~/x.ckpt") == tmp_path / "x.ckpt"


def test_a_checkpoint_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        load_systems(find_checkpoint(str(tmp_path / "gone.ckpt")), with_baselines=False)
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(InputError, match="can't be read as a checkpoint"):
        load_systems(tmp_path / "text.ckpt", with_baselines=False)


def test_the_checkpoint_alone_rebuilds_the_network(tmp_path):
    path, network = save(tmp_path / "best.ckpt")
    systems = load_systems(path, with_baselines=False)
    assert list(systems.networks) == ["model"] and systems.sample_rate == 16000
    model, waveform = systems.networks["model"], 0.1 * torch.randn(2, 8000)
    assert not model.training
    with torch.inference_mode():
        assert torch.equal(model(waveform), network(waveform))


def test_baselines(tmp_path):
    path, _ = save(tmp_path / "best.ckpt")
    networks = load_systems(path, with_baselines=True).networks
    assert list(networks) == ["model", "untrained network", "mean MFCC"]
    torch.manual_seed(CONFIG["seed"])  # as training began
    expected = build_network(CONFIG).state_dict()
    found = networks["untrained network"].state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    name = "encoder.stem.conv.weight"
    assert not torch.equal(found[name], networks["model"].state_dict()[name])


def test_a_checkpoint_may_name_networks_only(tmp_path):
    path, _ = save(tmp_path / "best.ckpt")
    contents = torch.load(path, weights_only=True)
    contents["config"]["model"]["encoder"] = {"_target_": "os.system", "command": "true"}
    torch.save(contents, path)
    with pytest.raises(InputError, match=r"names os\.system, which is neither a feature nor an encoder"):
        load_systems(path, with_baselines=False)


def fusion_config() -> dict:
    """Two branches of `CONFIG`'s kind."""
    parts = {part: CONFIG[part] for part in ("features", "frames", "norm", "pooling", "model")}
    fusion = {"_target_": "speakerlab.fusion.fusion.Fusion", "embed_dim": 6}
    model = {"branches": {"a": {"overrides": [], "ckpt": "gone.ckpt", **parts}, "b": parts}, "fusion": fusion}
    return CONFIG | {"features": {}, "pooling": {}, "model": model}


def test_a_fusions_checkpoint_alone_rebuilds_it(tmp_path):
    """Without the checkpoints that its branches came from."""
    path, network = save(tmp_path / "best.ckpt", fusion_config())
    systems, waveform = load_systems(path, with_baselines=True), 0.1 * torch.randn(2, 8000)
    with torch.inference_mode():
        assert torch.equal(systems.networks["model"](waveform), network(waveform))
    assert systems.settings["model"] == fusion_config()["model"]  # which the cache of embeddings is named by
    assert described(path).startswith("Ecapa and Ecapa of run ?, trained on 2 classes")


@pytest.mark.parametrize("place", [["a", "features"], ["b", "model", "encoder"], ["a", "pooling"]])
def test_a_branch_may_name_networks_only(tmp_path, place):
    path, _ = save(tmp_path / "best.ckpt", fusion_config())
    contents = torch.load(path, weights_only=True)
    node = contents["config"]["model"]["branches"]
    for key in place:
        node = node[key]
    node["_target_"] = "os.system"
    torch.save(contents, path)
    with pytest.raises(InputError, match=r"names os\.system, which is neither a feature nor an encoder"):
        load_systems(path, with_baselines=False)
    del contents["config"]["model"]["branches"]["b"]["pooling"]
    torch.save(contents, path)
    with pytest.raises(InputError, match="lacks pooling"):
        load_systems(path, with_baselines=False)


@pytest.mark.parametrize("cuda", [True, False])
def test_devices(monkeypatch, cuda):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 * cuda)
    both, cpu = [torch.device("cuda", 0), torch.device("cuda", 1)], torch.device("cpu")
    assert pick_devices("auto", None) == (both if cuda else [cpu])
    assert pick_devices("cpu", None) == [cpu] and pick_devices("cpu", 2) == [cpu, cpu]
    for name in ("gpu", "tpu", "", "cuda:2") if cuda else ("cuda", "cuda:0", "gpu", "mps"):
        with pytest.raises(InputError, match=f"device={name} is not here; use auto, cpu"):
            pick_devices(name, None)
    if cuda:
        assert pick_devices("cuda:1", None) == [both[1]] and pick_devices("cuda", None) == both
        assert pick_devices("cuda", 1) == both[:1]
    for device, processes in [("cpu", 10_000), *([("cuda", 3), ("cuda:1", 2)] if cuda else [])]:
        with pytest.raises(InputError, match=f"processes={processes} must be at most .* with device={device}"):
            pick_devices(device, processes)


@pytest.mark.parametrize("inside", [True, False])
def test_development_trials_come_from_the_run(tmp_path, inside):
    """A checkpoint in a run's checkpoints/, or one moved beside its trials/."""
    checkpoint = tmp_path / "run" / ("checkpoints" if inside else "") / "best.ckpt"
    with pytest.raises(InputError, match=f"{tmp_path / 'run'} holds no development trials"):
        find_trials(evaluation(), checkpoint)
    (tmp_path / "list.txt").write_text("1 a/1.wav a/2.wav\n")
    files = [tmp_path / "a/1.flac", tmp_path / "a/2.flac"]
    write_development_trials(tmp_path / "run", read_trials(tmp_path / "list.txt"), files)
    trials, found = find_trials(evaluation(), checkpoint)
    assert trials.utterances == found.names == ["a/1.wav", "a/2.wav"] and found.files == [str(file) for file in files]
    (tmp_path / "run" / "trials" / "development_files.txt").unlink()
    with pytest.raises(InputError, match=f"{tmp_path / 'run'} holds no development trials"):
        find_trials(evaluation(), checkpoint)


@pytest.mark.parametrize("roots", [None, "one", "two"])
def test_given_trials(tmp_path, roots):
    add(tmp_path, "a/1.wav", "other/b/1.flac") if roots == "two" else add(tmp_path, "a/1.wav", "b/1.flac")
    path = (tmp_path if roots is None else tmp_path / "lists") / "list.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("0 a/1.wav b/1.wav\n")
    given = {None: None, "one": str(tmp_path), "two": [str(tmp_path), str(tmp_path / "other")]}[roots]
    trials, files = find_trials(evaluation(trials=str(path), trials_root=given), tmp_path / "best.ckpt")
    assert trials.utterances == ["a/1.wav", "b/1.wav"]
    second = tmp_path / ("other/b/1.flac" if roots == "two" else "b/1.flac")
    assert files.files == [str(tmp_path / "a/1.wav"), str(second)]


def test_bad_trials_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"trials=.*gone\.txt: there is no such file"):
        find_trials(evaluation(trials=str(tmp_path / "gone.txt")), tmp_path / "best.ckpt")
    (tmp_path / "list.txt").write_text("0 a/1.wav b/1.wav\n")
    with pytest.raises(InputError, match="2 of 2 utterances have no file"):
        find_trials(evaluation(trials=str(tmp_path / "list.txt")), tmp_path / "best.ckpt")


def test_names_and_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside, lone = Path("outputs/x/1/checkpoints/best.ckpt"), Path("models/ecapa.ckpt")
    assert run_folder(inside) == Path("outputs/x/1") and run_folder(lone) is None
    assert output_folder(evaluation(), inside) == Path("outputs/x/1")
    assert output_folder(evaluation(), lone) == Path("outputs/evaluate/ecapa")
    assert output_folder(evaluation(output_dir="here"), inside) == Path("here")
    assert Path("here").is_dir()


def test_the_task_is_in_the_checkpoint(tmp_path):
    path, _ = save(tmp_path / "best.ckpt")
    assert task_of(path) == "verification" and task_of(None) is None
    path, _ = save(tmp_path / "best.ckpt", CONFIG | {"task": {"name": "identification"}})
    assert task_of(path) == "identification"


def test_a_checkpoint_in_a_line(tmp_path):
    path, _ = save(tmp_path / "best.ckpt", CONFIG | {"name": "mine"})
    assert described(path) == "Ecapa of run mine, trained on 2 classes"
    torch.save(torch.load(path, weights_only=True) | {"global_step": 7000}, path)
    assert described(path) == "Ecapa of run mine, trained for 7,000 steps on 2 classes"


def test_saved_embeddings_need_no_audio(tmp_path):
    (tmp_path / "list.txt").write_text("0 a/1.wav b/1.wav\n")
    given = evaluation(trials=str(tmp_path / "list.txt"), embeddings="e.npz")
    trials, utterances = find_trials(given, None)
    assert utterances.names == ["a/1.wav", "b/1.wav"] and utterances.files is None and len(trials) == 1


def test_a_run_on_saved_embeddings_knows_no_audio(tmp_path):
    """Its own trials and utterances are there for the embeddings of its branches."""
    run, checkpoint = tmp_path / "run", tmp_path / "run" / "checkpoints" / "best.ckpt"
    (tmp_path / "list.txt").write_text("1 a/1.wav a/2.wav\n")
    write_development_trials(run, read_trials(tmp_path / "list.txt"), [])
    with pytest.raises(
        InputError, match=r"was trained on saved embeddings, .*: give embeddings=\[PATH,...\], or trials="
    ):
        find_trials(evaluation(), checkpoint)
    for sources in ("one.npz", ["a.npz", "b.npz"]):
        trials, utterances = find_trials(evaluation(embeddings=sources), checkpoint)
        assert utterances.names == trials.utterances == ["a/1.wav", "a/2.wav"] and utterances.files is None
    table = write_tones(tmp_path / "audio", [("s3", 3), ("s0", 0)])
    nowhere = table.set_column(table.column_names.index("root"), "root", pa.array(["", ""]))
    write_development(run, Corpus(table, None, [], validation=table, test=nowhere))
    assert len(find_rows(evaluation(), checkpoint, "val")) == 2
    assert len(find_rows(evaluation(embeddings=["a.npz", "b.npz"]), checkpoint, "test")) == 2
    with pytest.raises(InputError, match=r"give embeddings=\[PATH,...\], or manifest=MANIFEST"):
        find_rows(evaluation(), checkpoint, "test")


def test_rows_of_a_split(tmp_path):
    table = write_tones(tmp_path / "audio", [("s3", 3), ("s0", 0), ("s6", 6)])
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    with pytest.raises(InputError, match=f"{tmp_path / 'run'} holds no utterances of test; give manifest=MANIFEST"):
        find_rows(evaluation(), checkpoint, "test")
    write_development(tmp_path / "run", Corpus(table, None, [], validation=table.slice(0, 1), test=table.slice(1)))
    assert (
        len(find_rows(evaluation(), checkpoint, "test")) == 2 and len(find_rows(evaluation(), checkpoint, "val")) == 1
    )
    write_manifest(table, tmp_path / "mine.parquet")
    given = evaluation(manifest=str(tmp_path / "mine.parquet"))
    assert find_rows(given, None, "test")["utterance"].to_pylist() == table["utterance"].to_pylist()
    with pytest.raises(InputError, match="has no utterance of split 'val'; it has 'test'"):
        find_rows(given, checkpoint, "val")


def test_voxceleb1_speakers_that_were_trained_on_are_refused(tmp_path):
    path, _ = save(tmp_path / "best.ckpt")
    contents = torch.load(path, weights_only=True)
    torch.save(contents | {"speakers": ["id00012", "id10001", "id10002"]}, path)
    for lines, shared in [
        ("1 id10270/x/1.wav id10270/y/1.wav\n0 id00012/x/1.wav id10271/x/1.wav\n", 0),  # mini's names are like these
        ("1 id10270/x/1.wav id10270/y/1.wav\n0 wav/id10002/x/1.wav id10001/x/1.wav\n", 2),
    ]:
        (tmp_path / "list.txt").write_text(lines)
        trials = read_trials(tmp_path / "list.txt")
        check_unseen(path, trials, allow_overlap=True)
        if shared:
            with pytest.raises(InputError, match=r"list\.txt: 2 of its speakers are trained on, such as id10001"):
                check_unseen(path, trials, allow_overlap=False)
        else:
            check_unseen(path, trials, allow_overlap=False)


def test_test_trials_come_from_the_run(tmp_path):
    (tmp_path / "list.txt").write_text("1 a/1.wav a/2.wav\n")
    files = [tmp_path / "a/1.flac", tmp_path / "a/2.flac"]
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    with pytest.raises(InputError, match="holds no test trials"):
        find_trials(evaluation(split="test"), checkpoint)
    write_development_trials(tmp_path / "run", read_trials(tmp_path / "list.txt"), files, "test")
    assert find_trials(evaluation(split="test"), checkpoint)[1].files == [str(file) for file in files]
