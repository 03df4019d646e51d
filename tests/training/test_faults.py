"""Files that break before and during a run: the callback under Lightning, and whole runs over planted faults."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import soundfile
import torch
from processes import run_forked, run_new
from torch.utils.data import DataLoader

from speakerlab import InputError
from speakerlab.training.faults import Faults

Fault = tuple[str, str]  # path, reason


class Data(pl.LightningDataModule):
    """Batches that report these faults, of a corpus of so many utterances."""

    def __init__(self, faults: list[list[Fault]], utterances: int):
        super().__init__()
        self.batches = [{"faults": given} for given in faults]
        self.dataset = range(utterances)

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None)


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, callback: Faults, faults: list[list[Fault]], utterances=100, epochs=1, ckpt=None) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = pl.Trainer(
        default_root_dir=folder, callbacks=[callback], enable_model_summary=False, max_epochs=epochs, **quiet
    )
    trainer.fit(Model(), datamodule=Data(faults, utterances), ckpt_path=ckpt)
    return trainer


def listed(folder: Path) -> list[tuple[str, ...]]:
    with open(folder / "quarantine.csv", newline="") as file:
        header, *rows = map(tuple, csv.reader(file))
    assert header == ("path", "reason")
    return rows


@pytest.fixture
def said(monkeypatch) -> list[str]:
    lines = []
    monkeypatch.setattr("speakerlab.training.faults.log.warning", lines.append)
    return lines


def test_each_file_is_counted_once_and_said_once(tmp_path, said):
    broken = [
        [("/a.wav", "is empty (0 bytes)")],
        [],
        [("/b, c.wav", "cut off: 3 of 4"), ("/a.wav", "is empty (0 bytes)")],
    ]
    fit(tmp_path, Faults(0.05), broken, epochs=3)
    assert listed(tmp_path) == [("/a.wav", "is empty (0 bytes)"), ("/b, c.wav", "cut off: 3 of 4")]
    assert said == [f"2 files could not be read and were replaced; listed in {tmp_path / 'quarantine.csv'}"]


def test_a_folder_may_have_a_colon_in_its_name(tmp_path):
    fit(tmp_path, Faults(1.0), [[("/a: b/1.wav", "x"), ("/a: b/2.wav", "y: z")]])
    assert listed(tmp_path) == [("/a: b/1.wav", "x"), ("/a: b/2.wav", "y: z")]


def test_no_fault_no_list(tmp_path, said):
    fit(tmp_path, Faults(0.0), [[], []])
    assert said == [] and not (tmp_path / "quarantine.csv").exists()


def test_a_file_is_listed_as_soon_as_it_is_met(tmp_path):
    seen = []

    class Look(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append(listed(tmp_path) if (tmp_path / "quarantine.csv").exists() else None)

    callback = Faults(1.0)
    callback.on_train_batch_start = Look().on_train_batch_start
    fit(tmp_path, callback, [[("/a", "x")], [], [("/b", "y")], []])
    assert seen == [None, [("/a", "x")], [("/a", "x")], [("/a", "x"), ("/b", "y")]]


@pytest.mark.parametrize(
    "share, utterances, stops", [(0.05, 40, False), (0.05, 39, True), (0.0, 40, True), (1, 2, False)]
)
def test_too_many_stop_the_run(tmp_path, share, utterances, stops):
    faults = [[("/a", "x")], [("/a", "x")], [("/b", "y")], []]
    if not stops:
        fit(tmp_path, Faults(share), faults, utterances)
        return
    with pytest.raises(InputError) as caught:
        fit(tmp_path, Faults(share), faults, utterances)
    count = "1 file" if share == 0.0 else "2 files"
    assert str(caught.value).startswith(
        f"{count} can't be read, more than loader.max_bad_share={share:g} of {utterances} training utterances "
        f"(such as /a: x); all are listed in {tmp_path / 'quarantine.csv'};"
    )
    assert len(listed(tmp_path)) == int(count[0])


def test_a_resumed_run_knows_them(tmp_path, said):
    """What came after the checkpoint is dropped from the list, and comes again."""
    trainer = fit(tmp_path, Faults(1.0), [[("/a", "x")], [("/b", "y")]])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    with open(tmp_path / "quarantine.csv", "a") as file:
        file.write("/late,z\n")
    callback = Faults(1.0)
    fit(tmp_path, callback, [[("/b", "y")], [("/c", "z")]], epochs=2, ckpt=tmp_path / "last.ckpt")
    assert listed(tmp_path) == [("/a", "x"), ("/b", "y"), ("/c", "z")]
    assert [line.split(" could")[0] for line in said] == ["2 files", "3 files"]
    with pytest.raises(InputError, match="3 files can't be read"):
        fit(tmp_path, Faults(0.02), [[("/c", "z")], []], epochs=2, ckpt=tmp_path / "last.ckpt")


def test_a_share_that_is_none(tmp_path):
    with pytest.raises(ValueError, match=r"max_bad_share=1.5 must lie in \[0, 1\]"):
        Faults(1.5)


# --- Whole runs


def plant(root: Path) -> dict[str, Path]:
    """67 files of six speakers, 64 of them usable as far as headers tell; the broken ones by kind."""
    generator = np.random.default_rng(0)
    for number in range(63):
        path = root / f"s{number % 6}" / "a" / f"{number // 6}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, generator.uniform(-0.5, 0.5, 16000), 16000)
    broken = {kind: root / f"s{i}" / "a" / "0.flac" for i, kind in enumerate(("truncated", "zero-byte", "rates"))}
    content = broken["truncated"].read_bytes()
    broken["truncated"].write_bytes(content[: len(content) // 8])
    broken["zero-byte"].write_bytes(b"")
    broken |= {kind: root / f"s{i}" / "a" / "0.wav" for i, kind in enumerate(("wrong extension", "NaN", "unreadable"))}
    broken["wrong extension"].write_text("path,speaker\n")
    soundfile.write(broken["NaN"], np.full(16000, np.nan), 16000, subtype="FLOAT")
    broken["unreadable"].symlink_to(broken["unreadable"])  # in a circle; rights would not keep root out
    soundfile.write(broken.pop("rates"), generator.uniform(-0.5, 0.5, (44100, 2)), 44100)
    soundfile.write(root / "s3" / "a" / "slow.wav", generator.uniform(-0.5, 0.5, 8000), 8000)
    return broken


@pytest.fixture
def given(folders, tiny, tmp_path) -> list[str]:
    """A run of an epoch over the planted tree."""
    return [
        *folders.overrides(),
        f"data.root={tmp_path / 'voices'}",
        "data.stereo=mix",
        *tiny,
        "name=tiny",
        "trainer.max_epochs=1",
    ]


# A checkpoint a step, by which moments are told.
TICKING = "callbacks.checkpoints.every_minutes=0.000001"


def run_folder(cwd: Path) -> Path:
    (folder,) = (cwd / "outputs" / "tiny").iterdir()
    return folder


def test_a_run_over_every_kind_of_fault_finishes_and_says_so(tmp_path, given):
    broken = plant(tmp_path / "voices")
    vanishing = tmp_path / "voices" / "s5" / "a" / "3.flac"
    longer = [
        *given,
        TICKING,
        "trainer.max_epochs=2",
        "sampler.batch_size=8",
    ]  # whichever batch it is in, it is met once more
    done = run_forked("train.py", *longer, cwd=tmp_path / "run", unlink=("last.ckpt", 7, vanishing))
    assert done.rc == 0, done.stderr
    run = run_folder(tmp_path / "run")
    # The scan sees what headers tell, the training the rest.
    assert "left out 3 of 67 files (2 broken, 1 empty)" in done.stdout
    assert dict(listed(run)).keys() == {str(broken["truncated"]), str(broken["NaN"]), str(vanishing)}
    reasons = dict(listed(run))
    assert "cut off" in reasons[str(broken["truncated"])] and "NaN" in reasons[str(broken["NaN"])]
    assert reasons[str(vanishing)] == "can't be opened (No such file or directory)"
    place = (run / "quarantine.csv").relative_to(tmp_path / "run")
    assert f"3 files could not be read and were replaced; listed in {place}\n" in done.stdout
    assert "3 files could not be read" in (run / "logs" / "train.log").read_text()
    assert json.loads((run / "status.json").read_text())["status"] == "finished" and done.stderr == ""


def test_a_run_over_too_many_faults_stops(tmp_path, given):
    plant(tmp_path / "voices")
    done = run_forked("train.py", *given, "loader.max_bad_share=0.02", "loader.num_workers=1", cwd=tmp_path / "run")
    assert done.rc == 1
    assert done.stderr.startswith("error: 2 files can't be read, more than loader.max_bad_share=0.02 of 64 training")
    assert done.stderr.count("\n") == 1 and "/quarantine.csv;" in done.stderr
    assert len(listed(run_folder(tmp_path / "run"))) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_development_file_that_vanishes_stops_the_run(tmp_path, given, folders, workers):
    plant(tmp_path / "voices")
    development = shutil.copytree(folders.development, tmp_path / "development")
    vanishing = development / "s1" / "a" / "2.flac"
    options = [TICKING, f"data.trials_root={development}", f"loader.num_workers={workers}"]
    done = run_forked("train.py", *given, *options, cwd=tmp_path / "run", unlink=("last.ckpt", 3, vanishing))
    assert done.rc == 1
    assert done.stderr == f"error: {vanishing}: can't be opened (No such file or directory)\n"


def test_the_cache_changes_no_number_and_leaves_out_what_cant_be_read(tmp_path, given, folders):
    """The same run from files and from the cache; with faults, the rest of it."""
    clean = [*given, f"data.root={folders.train}"]
    tables = []
    for name, options in {"files": [], "cache": ["loader.cache=pcm", f"cache_dir={tmp_path / 'cache'}"]}.items():
        done = run_forked("train.py", *clean, *options, cwd=tmp_path / name)
        assert done.rc == 0, done.stderr
        with open(run_folder(tmp_path / name) / "metrics" / "train_metrics.csv", newline="") as file:
            tables.append([(row["loss"], row["accuracy"]) for row in csv.DictReader(file)])
    assert tables[0] == tables[1] and len(tables[0]) == 1
    assert "pcm cache: decoding 24 utterances to 768.0 kB in" in done.stdout
    plant(tmp_path / "voices")
    done = run_forked("train.py", *given, *options, cwd=tmp_path / "faults")
    assert done.rc == 0, done.stderr
    folder = next((tmp_path / "cache" / "pcm").glob("voices-*"))
    assert f"pcm cache: 62 utterances in {folder}; left out 2 that can't be read, listed in {folder}/left_out.csv" in (
        done.stdout
    )
    done = run_forked("train.py", *given, *options, "loader.max_bad_share=0.0", cwd=tmp_path / "stricter")
    assert done.rc == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "2 of 64 utterances (3.1 %) can't be used, more than loader.max_bad_share=0 allows" in done.stderr


@pytest.mark.slow
def test_two_ranks_count_together(tmp_path, given):
    broken = plant(tmp_path / "voices")
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.sync_batchnorm=false"]
    ddp += ["trainer.precision=32-true", "trainer.max_epochs=2", "trainer.log_every_n_steps=2"]
    done = run_new("train.py", *given, *ddp, cwd=tmp_path)
    assert done.rc == 0, done.stderr
    run = run_folder(tmp_path)
    assert sorted(path for path, _ in listed(run)) == sorted([str(broken["truncated"]), str(broken["NaN"])])
    assert done.stdout.count("could not be read") == 1 and "2 files could not be read" in done.stdout
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["Faults"]
    assert sorted(state["files"]) == sorted(path for path, _ in listed(run)) and state["reported"] == 2
    done = run_new("train.py", *given, *ddp, "loader.max_bad_share=0.02", "name=strict", cwd=tmp_path)
    assert done.rc != 0 and "2 files can't be read, more than loader.max_bad_share=0.02" in done.stderr
