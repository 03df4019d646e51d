"""Every search space in `conf/sweep/`, found by globbing: what it varies, through every door."""

import shlex
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Transformer
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from omegaconf import OmegaConf

from speakerlab.cli.launch import compose as compose_checked
from speakerlab.cli.launch import offer_experiment_file, take_others
from speakerlab.cli.member_checks import check_members
from speakerlab.cli.multirun import _settle
from speakerlab.cli.sweeping import read_trials
from speakerlab.shipped import CONF

PAGES = [CONF.parent / page for page in ("README.md", "docs/sweeps.md", "sweep.py")]
SPACES = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))


def space(name: str) -> dict:
    return OmegaConf.to_container(OmegaConf.load(CONF / "sweep" / f"{name}.yaml"))


def distributions(name: str) -> dict:
    lines = [f"{key}={value}" for key, value in space(name)["hydra"]["sweeper"]["params"].items()]
    parsed = OverridesParser.create().parse_overrides(lines)
    return {override.get_key_element(): create_optuna_distribution_from_override(override) for override in parsed}


def test_there_are_some():
    assert {"margin", "optimizer", "augmentation", "architecture", "mel_cnn"} <= set(SPACES)


@pytest.mark.parametrize("name", SPACES)
def test_every_value_can_be_trained_with(sweep, name):
    check_members(sweep(f"sweep={name}", "hydra/sweeper=optuna"), "train", ())


@pytest.mark.parametrize("name", SPACES)
def test_the_points_to_try_first_lie_in_it(name):
    ranges, own = distributions(name), space(name).get("sweep") or {}
    assert own.get("points"), "a space begins with what is known to work"
    for point in own["points"]:
        assert set(point) <= set(ranges)
        for key, value in point.items():
            # Choices are text, as on the command line.
            written = Transformer.encode(value) if hasattr(ranges[key], "choices") else value
            assert ranges[key]._contains(ranges[key].to_internal_repr(written)), f"{key}={value}"
        compose_checked("train", [f"sweep={name}", *(f"{key}={Transformer.encode(v)}" for key, v in point.items())])
    assert set(own.get("when", {})) <= set(ranges)


@pytest.mark.parametrize("name", SPACES)
def test_its_first_point_is_the_default(name):
    """So that a sweep's first trial is what the others have to beat."""
    first = space(name)["sweep"]["points"][0]
    default, choices = compose_checked("train", [f"sweep={name}"])
    found = {key: choices[key] if key in choices else OmegaConf.select(default, key, default="off") for key in first}
    if name == "augmentation":  # whose level is an addition: a probability of 0 is the default's
        found["augment.waveform.gain.probability"] = 0.0
    assert found == first


def test_a_space_may_say_how_many_trials_are_usual(sweep, tmp_path):
    config = sweep("sweep=mel_cnn", "hydra/sweeper=optuna")
    _settle(config, tmp_path, optuna=True)
    assert config.hydra.sweeper.n_trials == 5 and "hydra.sweeper.n_trials=5" in config.hydra.overrides.hydra
    asked = sweep("sweep=mel_cnn", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=9")
    _settle(asked, tmp_path, optuna=True)
    assert asked.hydra.sweeper.n_trials == 9


def commands(script: str, with_word: str = "") -> list[str]:
    """What the pages say to type after this script's name; each once."""
    lines = "\n".join(page.read_text().replace("\\\n", " ") for page in PAGES).splitlines()
    start = f"python {script} "
    found = [
        line.strip().removeprefix("$ ").removeprefix(start).split("  #")[0].strip()
        for line in lines
        if start in line[: len(start) + 6]
    ]
    return list(dict.fromkeys(one for one in found if with_word in one and "..." not in one))


def words(command: str, folder: Path, monkeypatch) -> list[str]:
    """The command's arguments; an experiment that a sweep would have written is there."""
    monkeypatch.chdir(folder)
    best = folder / "outputs" / "sweeps" / "margin" / "best.yaml"
    best.parent.mkdir(parents=True)
    best.write_text("# @package _global_\nseed: 7\n")
    return shlex.split(command)


@pytest.mark.slow
@pytest.mark.parametrize("command", commands("sweep.py"))
def test_what_the_pages_say_to_type_is_read_by_sweep(command, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sweep.py", *words(command, tmp_path, monkeypatch)])
    others = take_others("sweep")
    compose_checked("sweep", sys.argv[1:])
    space, base = read_trials(others)
    assert space.parameters and base.examples


@pytest.mark.slow
@pytest.mark.parametrize("command", [one for one in commands("train.py", "-m ") if "launcher=ray" not in one])
def test_what_the_pages_say_to_type_is_read_by_multirun(sweep, command, tmp_path, monkeypatch):
    """But Ray's launcher, which wants an environment of its own."""
    if "hydra/launcher" in command:
        pytest.importorskip("submitit")
    given = words(command, tmp_path, monkeypatch)
    offer_experiment_file(given)
    check_members(sweep(*[word for word in given if word != "-m"]), "train", ())
