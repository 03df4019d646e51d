"""Which run a command starts or continues, and what its folder holds."""

import json
import logging
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from omegaconf import OmegaConf

from speakerlab import InputError
from speakerlab.augment.recipe import Recipe
from speakerlab.augment.speed import SpeedPerturbation
from speakerlab.data.corpus import Corpus
from speakerlab.data.development import read_development_trials
from speakerlab.data.trials import Trials
from speakerlab.training import run as run_module
from speakerlab.training.run import CHECKPOINT_VARIABLE, FIXED, FOLDER_VARIABLE, Run, find_run


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """A process that has trained nothing."""
    for name in (FOLDER_VARIABLE, CHECKPOINT_VARIABLE, "LOCAL_RANK"):
        monkeypatch.setenv(name, "")  # so that monkeypatch takes away what a test sets
        monkeypatch.delenv(name)
    handlers = list(run_module.log.handlers)
    yield
    for handler in set(run_module.log.handlers) - set(handlers):
        run_module.log.removeHandler(handler)
        handler.close()


@pytest.fixture
def config(tmp_path):
    """Makes a config; keywords replace values."""

    def make(**changes):
        plain = {
            "name": "ecapa_aam",
            "seed": 1,
            "ckpt": None,
            "folder": None,
            "output_dir": str(tmp_path / "outputs"),
            "optimizer": {"lr": 1e-05, "betas": [0.9, 0.98]},
            "data": {"root": "/data/ö", "trials": None},
            "copy": "${seed}",
        }
        return OmegaConf.create(plain | changes)

    return make


def corpus(tmp_path) -> Corpus:
    pairs = np.array([[0, 1]], np.int32)
    trials = Trials(np.array([1], np.int8), pairs[:, 0], pairs[:, 1], ["a/1", "a/2"], np.array([1]), "test")
    return Corpus(pa.table({}), trials, [tmp_path / "a/1.wav", tmp_path / "a/2.wav"], ("18 utterances", "1 trial"))


def checkpoint(run: Run, name: str = "last.ckpt", step: int = 40) -> Path:
    path = run.folder / "checkpoints" / name
    torch.save({"config": {}, "speakers": ["a"], "state_dict": {}, "global_step": step}, path)
    return path


def start(cfg, tmp_path, status: str = "running", step: int = 40) -> Run:
    """A run as an earlier process left it."""
    run = find_run(cfg)
    run.start(cfg, corpus(tmp_path), {})
    checkpoint(run, step=step)
    run.mark(status)
    os.environ.pop(FOLDER_VARIABLE, None)
    return run


def test_a_new_run(tmp_path, config):
    cfg = config()
    run = find_run(cfg)
    assert (run.checkpoint, run.step) == (None, 0)
    assert run.folder.parent == tmp_path / "outputs" / "ecapa_aam" and run.folder.is_dir()
    run.start(cfg, corpus(tmp_path), {})
    logging.getLogger("speakerlab").warning("hello")
    assert OmegaConf.load(run.folder / "config.yaml") == OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert json.loads((run.folder / "status.json").read_text()) == {"status": "running"}
    assert "hello" in (run.folder / "logs" / "train.log").read_text()
    assert (run.folder / "command.txt").read_text().startswith("python ")
    environment = json.loads((run.folder / "environment.json").read_text())
    assert environment["libraries"]["torch"] == torch.__version__.split("+")[0]
    assert environment["git"] is None or len(environment["git"]["commit"]) == 40
    trials, files = read_development_trials(run.folder)
    assert trials.utterances == ["a/1", "a/2"] and files == corpus(tmp_path).development
    run.mark("finished")
    assert json.loads((run.folder / "status.json").read_text()) == {"status": "finished"}
    assert all((run.folder / name).is_dir() for name in ("checkpoints", "metrics", "plots"))


def test_runs_of_one_second_get_a_folder_each(config):
    folders = [find_run(config()).folder for _ in range(4)]
    assert len(set(folders)) == 4


def test_a_run_takes_the_folder_that_it_is_given(tmp_path, config):
    run = find_run(config(folder=str(tmp_path / "sweeps" / "3")))
    assert run.folder == tmp_path / "sweeps" / "3" and run.folder.is_dir()
    (run.folder / "checkpoints").mkdir()
    (run.folder / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(InputError, match=r"folder=.*3 holds a run already: give ckpt="):
        find_run(config(folder=str(run.folder)))


def test_a_second_run_of_one_process_gets_a_folder_of_its_own(tmp_path, config):
    """A sweep trains one model after the other in one process; each tells its ranks where it writes."""
    first = find_run(config())
    first.start(config(), corpus(tmp_path), {})
    second = find_run(config(seed=2))
    assert second.folder != first.folder


def test_the_other_ranks_write_where_the_first_does(tmp_path, config, monkeypatch):
    first = find_run(config(ckpt="last"))  # nothing to resume
    first.start(config(ckpt="last"), corpus(tmp_path), {})
    monkeypatch.setenv("LOCAL_RANK", "1")  # as Lightning tells the processes that it starts
    other = find_run(config(ckpt="last"))
    assert (other.folder, other.checkpoint) == (first.folder.resolve(), None)


@pytest.mark.parametrize("ckpt", ["last", "path"])
def test_the_other_ranks_resume_from_what_the_first_does(tmp_path, config, monkeypatch, ckpt):
    run = start(config(), tmp_path, step=40)
    path = checkpoint(run, "epoch_001.ckpt", step=20)
    cfg = config(ckpt="last" if ckpt == "last" else str(path))
    first = find_run(cfg)
    first.start(cfg, corpus(tmp_path), {})
    monkeypatch.setenv("LOCAL_RANK", "1")
    other = find_run(cfg)
    assert (other.folder, other.step) == (run.folder.resolve(), 40 if ckpt == "last" else 20)
    assert other.checkpoint == first.checkpoint.resolve()


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
        {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
    ],
)
def test_processes_that_were_started_apart_are_told_where_to_write(tmp_path, config, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for changes in ({}, {"ckpt": "last"}, {"ckpt": "last", "folder": str(tmp_path / "run")}):
        with pytest.raises(InputError, match=r"give all of them a new one, folder=.*/ecapa_aam/first, or .* ckpt=RUN"):
            find_run(config(**changes))
    assert find_run(config(folder=str(tmp_path / "run"))).folder == tmp_path / "run"


def test_last_continues_the_newest_unfinished_run(tmp_path, config):
    for step in (10, 20, 30):
        run = start(config(), tmp_path, step=step)
    found = find_run(config(ckpt="last"))
    assert (found.folder, found.step) == (run.folder, 30)
    assert found.checkpoint == run.folder / "checkpoints" / "last.ckpt"
    run.mark("finished")
    older = find_run(config(ckpt="last"))
    assert older.folder != run.folder and older.step == 20


def test_a_continued_run_is_found_again(tmp_path, config):
    """Its folder now holds the config with ckpt=last."""
    first = start(config(), tmp_path)
    assert start(config(ckpt="last"), tmp_path).folder == first.folder
    assert find_run(config(ckpt="last")).folder == first.folder
    assert len((first.folder / "command.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "changes",
    [{"seed": 2}, {"name": "other"}, {"optimizer": {"lr": 2e-05, "betas": [0.9, 0.98]}}, {"extra": None}],
)
def test_last_leaves_other_configs_alone(tmp_path, config, changes, monkeypatch):
    run, said = start(config(), tmp_path), []
    monkeypatch.setattr(run_module.log, "info", said.append)
    found = find_run(config(ckpt="last", **changes))
    assert found.folder != run.folder and (found.checkpoint, found.step) == (None, 0)
    assert len(said) == 1 and "no unfinished run with this config" in said[0]


@pytest.mark.parametrize("missing", ["status.json", "config.yaml", "checkpoints/last.ckpt"])
def test_last_skips_what_never_got_going(tmp_path, config, missing):
    older = start(config(), tmp_path, step=10)
    newer = start(config(), tmp_path, step=20)
    (newer.folder / missing).unlink()
    assert find_run(config(ckpt="last")).folder == older.folder


def test_last_without_any_run_starts_anew(config):
    assert find_run(config(ckpt="last")).checkpoint is None


def test_a_path_continues_in_its_own_folder_whatever_the_config(tmp_path, config):
    run = start(config(), tmp_path, status="finished")
    path = checkpoint(run, "epoch_003.ckpt", step=33)
    found = find_run(config(ckpt=str(path), seed=5))
    assert (found.folder, found.checkpoint, found.step) == (run.folder, path, 33)


def test_bad_paths_are_refused(tmp_path, config):
    with pytest.raises(InputError, match=r"gone\.ckpt: there is no such file"):
        find_run(config(ckpt=str(tmp_path / "gone.ckpt")))
    torch.save({}, tmp_path / "lone.ckpt")
    with pytest.raises(InputError, match=r"lone\.ckpt must lie in the folder checkpoints/"):
        find_run(config(ckpt=str(tmp_path / "lone.ckpt")))
    (tmp_path / "checkpoints").mkdir()
    torch.save({"weights": 1}, tmp_path / "checkpoints" / "foreign.ckpt")
    with pytest.raises(InputError, match="was not written by speakerlab"):
        find_run(config(ckpt=str(tmp_path / "checkpoints" / "foreign.ckpt")))


PARTS = {key: {"x": 1} for key in FIXED if key != "optimizer"} | {"augment": {"speed": None}}


def manifest(*speakers: str) -> pa.Table:
    return pa.table({"speaker": list(speakers)})


@pytest.mark.parametrize(
    "changes, speakers, message",
    [
        ({}, ("a", "b", "b"), None),
        ({"seed": 2, "trainer": {"max_epochs": 4}}, ("a", "b", "b"), None),
        ({"loss": {"x": 2}}, ("a", "b", "b"), "trained with another loss"),
        ({"task": {"name": "identification"}}, ("a", "b", "b"), "trained with another task"),
        ({"optimizer": {"lr": 1.0}}, ("a", "b", "b"), "trained with another optimizer"),
        ({"augment": {"speed": {"x": 2}}}, ("a", "b", "b"), "trained with another augment.speed"),
        ({}, ("a", "c", "c"), "trained on 2 speakers and 3 utterances"),
        ({}, ("a", "b"), "trained on 2 speakers and 3 utterances"),
        ({"trainer": {"max_epochs": 3}}, ("a", "b", "b"), "trainer.max_epochs=3: the checkpoint is of epoch 4"),
    ],
)
def test_a_resumed_run_must_fit_its_checkpoint(config, tmp_path, changes, speakers, message):
    base = PARTS | {"trainer": {"max_epochs": 9}}
    saved = {
        "config": OmegaConf.to_container(config(**base), resolve=True),
        "speakers": ["a", "b"],
        "utterances": 3,
        "epoch": 3,
        "global_step": 7,
    }
    run = Run(tmp_path, tmp_path / "last.ckpt", saved)
    given = Corpus(manifest(*speakers), None, [])
    if message is None:
        run.check(config(**(base | changes)), given, Recipe())
        assert run.step == 7
    else:
        with pytest.raises(InputError, match=message):
            run.check(config(**(base | changes)), given, Recipe())
    Run(tmp_path).check(config(**(base | changes)), given, Recipe())  # a new run has nothing to fit


def test_a_resumed_run_has_the_same_voices(config, tmp_path):
    base = config(**PARTS, trainer={"max_epochs": 9})
    saved = {
        "config": OmegaConf.to_container(base, resolve=True),
        "speakers": ["a", "b", "a x0.9", "b x0.9"],
        "utterances": 3,
        "epoch": 3,
    }
    run, given = Run(tmp_path, tmp_path / "last.ckpt", saved), Corpus(manifest("a", "b", "b"), None, [])
    run.check(base, given, Recipe(SpeedPerturbation([0.9, 1.0])))
    with pytest.raises(InputError, match="trained on 4 speakers"):
        run.check(base, given, Recipe())


def _hold(folder, held, done) -> None:
    file = run_module.lock(folder)
    held.set()
    done.wait(60)
    file.close()


def test_a_folder_belongs_to_one_process(tmp_path, config):
    first = find_run(config())
    first.start(config(), corpus(tmp_path), {})
    first.lock.close()
    (first.folder / "checkpoints" / "last.ckpt").touch()
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(first.folder, held, done))
    process.start()
    assert held.wait(60)
    assert find_run(config(ckpt="last")).folder != first.folder  # the file would not even load
    with pytest.raises(InputError, match="another process is training"):
        Run(first.folder).start(config(), corpus(tmp_path), {})
    process.kill()
    process.join()
    run_module.lock(first.folder).close()


def test_each_start_says_on_what(tmp_path, config):
    for start, precision in enumerate(("32-true", "bf16-mixed"), start=1):
        Run(tmp_path / "run").start(config(), corpus(tmp_path), {"precision": precision})
        name = "environment.json" if start == 1 else "environment_2.json"
        assert json.loads((tmp_path / "run" / name).read_text())["precision"] == precision
