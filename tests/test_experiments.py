"""Every experiment in `conf/experiment/`, found by globbing: its command, and a few real steps of training."""

import argparse
import csv
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from processes import run_forked

from speakerlab import InputError
from speakerlab.cli import average, find
from speakerlab.cli.launch import compose as compose_checked
from speakerlab.config import CONF, check
from speakerlab.training.assembly import try_components

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
PAGE = CONF.parent / "docs" / "training.md"
SMALLEST = ("cnn_mfcc",)
# What a second stage goes on from, by a part of its name.
FIRST_STAGES = {"stage2": "stage1", "contrastive": "softmax", "large_margin": "wespeaker_resnet34"}
MORE = {"large_margin": ["model=resnet34"]}  # what the run that it goes on from was given
Train = Callable[[str], Path]


def composed(compose: Callable, experiment: str) -> DictConfig:
    cfg, _ = compose(f"experiment={experiment}", *MORE.get(experiment, []))
    return cfg


def debugging(experiment: str) -> list[str]:
    """The arguments that train it for real in seconds, but for what a second stage goes on from."""
    return [f"experiment={experiment}", *MORE.get(experiment, []), "debug=mini"]


def needs_a_start(compose: Callable, experiment: str) -> bool:
    return composed(compose, experiment).fine_tuning.ckpt == ""


def commands(experiment: str) -> list[str]:
    """The commands in the comment at its top; a line that is indented further goes on."""
    text = (CONF / "experiment" / f"{experiment}.yaml").read_text().replace("\n#       ", " ")
    return re.findall(r"^#   (python train\.py .*)$", text, re.MULTILINE)


def without_runs(overrides: list[str]) -> list[str]:
    """Without the checkpoints of branches: their networks are read from them, and a name in capitals is no file."""
    return [word for word in overrides if not re.fullmatch(r"model\.branches\.\w+\.ckpt=[A-Z_]+", word)]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_its_command_composes(experiment):
    """What is given by a name in capitals stands for a path."""
    written = commands(experiment)
    assert written, f"conf/experiment/{experiment}.yaml names no command at its top"
    for command in written:
        _, _, *overrides = shlex.split(command)
        assert f"experiment={experiment}" in overrides
        compose_checked("train", without_runs(overrides))


def test_the_page_on_training_names_every_experiment():
    table = (
        (CONF.parent / "docs" / "training.md").read_text().partition("\n## Experiments\n")[2].partition("\n\n`debug")[0]
    )
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)) == EXPERIMENTS


def test_the_commands_of_the_page_on_training_compose():
    page = PAGE.read_text().replace("\\\n", " ")
    found = re.findall(r"^(?:python|speakerlab) .*$", page, re.MULTILINE)
    assert len(found) > 20
    parser = argparse.ArgumentParser()
    families = parser.add_subparsers()
    average.add_commands(families)
    find.add_commands(families)
    for command in found:
        words = shlex.split(command, comments=True)
        if words[1] == "train.py":
            compose_checked("train", without_runs(words[2:]))
        elif words[1] == "evaluate.py":
            compose_checked("evaluate", words[2:])
        elif words[1].startswith("benchmarks/"):
            assert (PAGE.parent.parent / words[1]).is_file()
            compose_checked("train", words[words.index("--") + 1 :])
        else:
            compose_checked("train", getattr(parser.parse_args(words[1:]), "overrides", []))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_it_passes_with_its_debug_overlay(compose, experiment):
    cfg, choices = compose(*debugging(experiment))
    if cfg.fine_tuning.ckpt == "":
        cfg.fine_tuning.ckpt = None  # there is no first stage
    cfg = check(cfg, "train", choices)
    assert choices["data"] == "mini" and cfg.trainer.max_epochs == 2
    small = OmegaConf.load(CONF / "debug" / "batch" / f"{choices['sampler']}.yaml").sampler
    assert small.items() <= cfg.sampler.items()
    try_components(cfg)


def test_debugging_knows_small_batches_of_every_sampler():
    small, samplers = ({path.stem for path in (CONF / group).glob("*.yaml")} for group in ("debug/batch", "sampler"))
    assert small == samplers


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_what_must_be_given_is_named_in_a_line(compose, experiment):
    missing = OmegaConf.missing_keys(composed(compose, experiment))
    if needs_a_start(compose, experiment):
        missing.add("fine_tuning.ckpt")
    if not missing:
        return
    with pytest.raises(InputError) as caught:
        compose_checked("train", [f"experiment={experiment}"])
    first = sorted(missing)[0]
    assert str(caught.value) == f"{first} must be given: add {first}=... to the command line"


def test_a_second_stage_needs_the_first(compose):
    """Else it would train from scratch, and nobody would see it."""
    second = {name for name in EXPERIMENTS if any(part in name for part in FIRST_STAGES)}
    assert {name for name in EXPERIMENTS if needs_a_start(compose, name)} == second
    for name in second:
        with pytest.raises(InputError, match=r"^fine_tuning\.ckpt must be given: add fine_tuning\.ckpt=\.\.\."):
            compose_checked("train", debugging(name))


def test_a_process_without_its_data_stops_in_a_line(tmp_path):
    done = run_forked("train.py", "experiment=ecapa_voxceleb", cwd=tmp_path)
    assert done.rc == 1
    assert done.stderr == "error: data.root must be given: add data.root=... to the command line\n"
    assert not (tmp_path / "outputs").exists()


@pytest.fixture(scope="module")
def trained_runs() -> dict[str, Path]:
    return {}


@pytest.fixture
def train(compose, tmp_path_factory, trained_runs) -> Train:
    """`train("resnet34_adacos_stage2")`: the run's folder; what it goes on from is trained before. Each only once."""

    def train_one(experiment: str) -> Path:
        if experiment in trained_runs:
            return trained_runs[experiment]
        arguments = [*debugging(experiment), "threads=1"]
        if needs_a_start(compose, experiment):
            arguments.append(f"fine_tuning.ckpt={train_one(first_stage(experiment)) / 'checkpoints' / 'last.ckpt'}")
        cwd = tmp_path_factory.mktemp(experiment)
        done = run_forked("train.py", *arguments, cwd=cwd)
        assert (done.rc, done.stderr) == (0, ""), done.stderr
        (trained_runs[experiment],) = (cwd / "outputs").glob("*/*/")
        return trained_runs[experiment]

    return train_one


def first_stage(experiment: str) -> str:
    (found,) = (experiment.replace(part, first) for part, first in FIRST_STAGES.items() if part in experiment)
    return found


@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=() if name in SMALLEST else pytest.mark.slow) for name in EXPERIMENTS]
)
def test_it_trains(train, compose, experiment):
    """Two epochs of three steps at its full size, judged after each."""
    run = train(experiment)
    cfg = composed(compose, experiment)
    with open(run / "metrics" / "train_metrics.csv", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 2 and all(0 < loss < 100 for loss in losses)
    with open(run / "metrics" / "val_metrics.csv", newline="") as file:
        measured = list(csv.DictReader(file))
    wanted = {"accuracy", "top5_accuracy"} if cfg.task.name == "identification" else {"eer"}
    assert wanted <= set(measured[-1])
    kept = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 6 // cfg.trainer.accumulate_grad_batches
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
    if needs_a_start(compose, experiment):
        assert "weights of network" in (run / "logs" / "train.log").read_text()
