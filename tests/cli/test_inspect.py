"""The commands as typed, on checkpoints of networks that were never trained."""

import shutil

import pyarrow as pa
import pytest
import torch
from omegaconf import OmegaConf

from speakerlab.build import build_network
from speakerlab.cli.launch import compose
from speakerlab.cli.main import main
from speakerlab.data.development import write_development_trials
from speakerlab.data.manifest import as_manifest, write_manifest
from speakerlab.data.scan import scan_folder
from speakerlab.data.trials import locate_utterances, read_trials

ECAPA = [
    "model=ecapa",
    "model.encoder.channels=16",
    "model.encoder.pooled_channels=24",
    "model.encoder.embed_dim=8",
    "model.encoder.se_bottleneck=8",
]
FUSION = [
    "model=fusion",
    "model.branches={wave: {overrides: [model=sincnet,model.encoder.hidden=8,model.encoder.filters=6]}, "
    f"mel: {{overrides: {ECAPA}}}}}",
    "model.fusion.embed_dim=8",
]
SINCNET = ["model=sincnet", "model.encoder.hidden=8", "model.encoder.filters=6"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def run(tmp_path, folders):
    """A run's folder with a checkpoint and development trials."""

    def make(*overrides: str):
        torch.manual_seed(0)
        cfg, _ = compose("train", list(overrides))
        weights = {f"network.{name}": value for name, value in build_network(cfg).state_dict().items()}
        folder = tmp_path / "run"
        (folder / "checkpoints").mkdir(parents=True)
        config = OmegaConf.to_container(cfg, resolve=True)
        contents = {"config": config, "speakers": ["a"], "state_dict": weights, "epoch": 2}
        torch.save(contents, folder / "checkpoints" / "best.ckpt")
        trials = read_trials(folders.trials)
        write_development_trials(folder, trials, locate_utterances(trials, [folders.development]))
        return folder

    return make


def refusal(*arguments) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", *map(str, arguments)])
    message = str(caught.value)
    assert message.startswith("error: ") and "\n" not in message
    return message


def test_attention_on_the_runs_own_utterances(run, capsys):
    folder = run(*ECAPA)
    main(["inspect", "attention", str(folder)])
    names = {path.name for path in (folder / "attention").iterdir()}
    assert {"report.html", "01.png", "03.wav"} <= names and "04.png" not in names
    out = capsys.readouterr().out
    assert "24 weightings" in out and "s0/a/0.flac" in out and "attention/report.html" in out


def test_attention_on_files_and_elsewhere(run, folders, tmp_path):
    checkpoint = run(*ECAPA).rename(tmp_path / "moved") / "checkpoints" / "best.ckpt"
    checkpoint = checkpoint.rename(tmp_path / "alone.ckpt")
    file = folders.development / "s1/a/2.flac"
    main(["inspect", "attention", str(checkpoint), "--to", "pictures", str(file), str(file)])
    assert {path.name for path in (tmp_path / "pictures").glob("*.png")} == {"01.png", "02.png"}
    main(["inspect", "attention", str(checkpoint), str(file)])
    assert (tmp_path / "outputs/attention/alone/report.html").is_file()
    assert "alone.ckpt lies in no run with development trials: give audio FILEs" in refusal("attention", checkpoint)
    assert "nowhere.wav" in refusal("attention", checkpoint, "nowhere.wav")


def test_filters(run, capsys):
    folder = run(*SINCNET)
    main(["inspect", "filters", str(folder)])
    assert (folder / "filters" / "filters.png").is_file() and "filters/report.html" in capsys.readouterr().out
    assert "6 of 251 taps" in (folder / "filters" / "report.html").read_text()


def test_fusion_on_the_runs_own_utterances(run, capsys, folders):
    folder = run(*FUSION)
    main(["inspect", "fusion", str(folder), "--snr", "15,5"])
    assert {path.name for path in (folder / "fusion").iterdir()} == {"report.html", "weights.png", "weights.svg"}
    out = capsys.readouterr().out
    assert all(text in out for text in ("gated of wave and mel", "noise, 5 dB", "telephone", "0.500", "weights.png"))
    assert "<td>9 of 9, of each at most 10 s</td>" in (folder / "fusion" / "report.html").read_text()
    file = folders.development / "s1/a/2.flac"
    main(["inspect", "fusion", str(folder), str(file), "--noise", str(folders.train), "--to", "elsewhere"])
    assert str(folders.train) in (folder.parent / "elsewhere" / "report.html").read_text()


def test_the_other_looks_at_a_fusion_are_of_its_branches(run, capsys):
    folder = run(*FUSION)
    main(["inspect", "filters", str(folder)])
    main(["inspect", "attention", str(folder)])
    assert "24 weightings" in capsys.readouterr().out
    assert "SincNet pools by Mean, which weighs no frames" in refusal("attention", folder, "--branch", "wave")
    assert "there is no branch waves: there are wave, mel" in refusal("attention", folder, "--branch", "waves")


def test_fusion_on_utterances_to_identify(run, folders):
    """Of a run that was chosen by naming speakers; rows may be parts of files."""
    folder = run(*FUSION)
    shutil.rmtree(folder / "trials")
    scan = scan_folder(folders.development, folder / "scan", min_seconds=0.1, stereo="mix", max_bad_share=0.0)
    write_manifest(scan.manifest, folder / "utterances" / "val.parquet")
    main(["inspect", "fusion", str(folder)])
    assert "<td>9 of 9, of each" in (folder / "fusion" / "report.html").read_text()
    shutil.rmtree(folder / "utterances")
    assert "lies in no run with development utterances that have audio: give" in refusal("fusion", folder)
    assert "nowhere.wav" in refusal("fusion", folder, "nowhere.wav")


def test_a_fusion_on_saved_embeddings_hears_what_a_branch_was_judged_by(run, folders, tmp_path):
    """Its own utterances have names alone."""
    folder, branch = run(*FUSION), tmp_path / "branch"
    shutil.rmtree(folder / "trials")
    scan = scan_folder(folders.development, tmp_path / "scan", min_seconds=0.1, stereo="mix", max_bad_share=0.0)
    place = scan.manifest.schema.get_field_index("root")
    nameless = scan.manifest.set_column(place, "root", pa.array([""] * len(scan.manifest)))
    write_manifest(as_manifest(nameless, "saved embeddings"), folder / "utterances" / "val.parquet")
    assert "have audio: give audio FILEs" in refusal("fusion", folder)
    write_manifest(scan.manifest, branch / "utterances" / "val.parquet")
    contents = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    contents["config"]["model"]["branches"]["mel"]["ckpt"] = str(branch / "checkpoints" / "best.ckpt")
    torch.save(contents, folder / "checkpoints" / "best.ckpt")
    main(["inspect", "fusion", str(folder)])
    assert "<td>9 of 9, of each" in (folder / "fusion" / "report.html").read_text()


def test_mistakes_with_a_fusion(run, tmp_path):
    folder = run(*FUSION)
    assert "--snr 3,x must be ratios in dB" in refusal("fusion", folder, "--snr", "3,x")
    assert "--noise nowhere: there is no such folder" in refusal("fusion", folder, "--noise", "nowhere")
    folder.rename(tmp_path / "other")
    assert "no branches to weigh: Ecapa is a network of its own" in refusal("fusion", run(*ECAPA))


def test_what_a_network_has_not_is_said(run, tmp_path):
    folder = run(*SINCNET)
    assert "no attention to draw: SincNet pools by Mean, which weighs no frames" in refusal("attention", folder)
    folder.rename(tmp_path / "other")
    assert "no filters to draw: Ecapa learns no band edges" in refusal("filters", run(*ECAPA))


def test_no_checkpoint(tmp_path):
    assert "nowhere.ckpt" in refusal("filters", "nowhere.ckpt")
    assert "holds no checkpoints/best.ckpt" in refusal("attention", tmp_path)
