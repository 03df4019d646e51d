"""best.yaml against the trial that it repeats: the same configuration, whatever the sweep's command gave."""

import optuna
import pytest
from omegaconf import OmegaConf
from studies import make_study, write_command

from speakerlab.cli.branches import branch_arguments
from speakerlab.cli.launch import compose
from speakerlab.shipped import CONF
from speakerlab.sweeping.best import NOT_KEPT, as_experiment, write_best


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[optuna.Study, object]:
    folder = tmp_path_factory.mktemp("sweeps") / "margin"
    return make_study(folder), folder


def plain(*words: str) -> dict:
    """The checked config of these overrides, but for what says where and how it runs."""
    config = OmegaConf.to_container(compose("train", list(words))[0], resolve=True)
    return {key: value for key, value in config.items() if key not in (*NOT_KEPT, "sweep")}


def of_best(path) -> dict:
    return plain(f"experiment={path}")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["data=folder", "data.root=[/voices a,/b]", "data.split={train: .6, val: .4}", "data.split_by=speaker"],
        [
            "optimizer=sgd",
            "scheduler=constant",
            "+augment/waveform=[gain,telephone]",
            "augment.waveform.gain.gain_db=[-3,3]",
        ],
        ["augment=voxceleb", "augment.noise_dir=/noise", "trainer=cpu", "trainer.max_epochs=7", "seed=3"],
        ["experiment=real_speech", "debug=mini", "pooling=statistics", "sampler.batch_size=5"],
        ["sweep=augmentation", "augment.speed.new_speakers=false"],
        ["callbacks.ema.decay=0.99", "name='a b'", "compile=true", "data.fraction=0.5"],
    ],
    ids=lambda words: words[0] if words else "bare",
)
def test_it_composes_to_what_the_trial_had(study, words):
    found, folder = study
    best = found.best_trial
    write_command(folder, best, *words)
    own = [f"{key}={value}" for key, value in best.params.items()]
    assert of_best(write_best(found, folder)) == plain(*words, *own)


def test_every_space_keeps_its_own_choices(tmp_path):
    for path in sorted((CONF / "sweep").glob("*.yaml")):
        experiment, dropped = as_experiment([f"sweep={path.stem}"])
        (tmp_path / "x.yaml").write_text(OmegaConf.to_yaml(experiment))
        assert plain(f"experiment={tmp_path / 'x.yaml'}") == plain(f"sweep={path.stem}") and not dropped


def test_other_branches_take_the_place_of_the_shipped_ones(tmp_path):
    given = "model.branches={a: {overrides: [model=xvector]}, mel_cnn: {overrides: [model=mel_cnn]}}"
    words = ["model=fusion", given, "model.fusion.kind=mean"]
    experiment, _ = as_experiment(branch_arguments(words))  # as the script's own command line then is
    (tmp_path / "x.yaml").write_text(OmegaConf.to_yaml(experiment))
    found = plain(f"experiment={tmp_path / 'x.yaml'}")
    assert found == plain(*words) and set(found["model"]["branches"]) == {"a", "mel_cnn"}


def test_its_head_says_what_it_is(study):
    found, folder = study
    write_command(folder, found.best_trial, "~callbacks.ema", "model=ecapa")
    text = write_best(found, folder).read_text()
    first, second, third, fourth, *_ = text.splitlines()
    assert first == "# @package _global_"
    assert second == f"# Trial {found.best_trial.number} of the study margin: eer {found.best_value:.6g}"
    assert third == f"#   python train.py experiment={folder}/best.yaml"
    assert fourth == "# The trial was given besides: ~callbacks.ema"
    assert "name: margin_best" in text and str(folder / str(found.best_trial.number)) not in text


def test_an_experiment_in_a_file_is_taken_in(study, tmp_path):
    """Such as another sweep's best.yaml, which may be gone when this one's is used."""
    found, folder = study
    inner = tmp_path / "other.yaml"
    inner.write_text(
        "# @package _global_\nname: other\ndefaults:\n  - /experiment/real_speech\n  - /augment/waveform: [gain]\n"
        "  - _self_\n  - override /model: xvector\n  - override /loss: am\nseed: 5\nsampler: {batch_size: 7}\n"
    )
    told = "sweep.points=[{loss.margin: 0.3}]"
    words = [f"experiment={inner}", "sweep=margin", told, "sampler.batch_size=5", "scheduler=constant"]
    write_command(folder, found.best_trial, *words)
    own = [f"{key}={value}" for key, value in found.best_trial.params.items()]
    expected = plain(*words, *own)
    path = write_best(found, folder)
    inner.unlink()
    assert of_best(path) == expected and expected["seed"] == 5 and expected["sampler"]["batch_size"] == 5
    assert "name: margin_best" in path.read_text() and "points" not in path.read_text()


def test_another_trial_and_a_run_that_is_elsewhere(study):
    found, folder = study
    number = next(
        trial.number for trial in found.trials if trial.value is not None and trial.number != found.best_trial.number
    )
    text = write_best(found, folder, number).read_text()
    assert f"# Trial {number} " in text and "not on this machine" in text
    own = [f"{key}={value}" for key, value in found.trials[number].params.items()]
    assert of_best(folder / "best.yaml") == plain(*own)
