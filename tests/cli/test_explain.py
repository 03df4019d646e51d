"""What Hydra can't compose ends as one line with the key and the nearest right name."""

import pytest
from hydra.errors import ConfigCompositionException, HydraException

from speakerlab import InputError
from speakerlab.cli.explain import _place, explain_composition
from speakerlab.config import check


@pytest.mark.parametrize(
    "overrides, expected",
    [
        (["model=ecappa"], ["model=ecappa", "conf/model/ecappa.yaml", "did you mean ecapa?", "ecapa_c1024"]),
        (["loss=zzz"], ["loss=zzz", "there are: aam"]),
        (["loss=null"], ["loss=null", "there are: aam"]),
        (["optimizer=adam", "logger=null"], ["logger=null", "there are: tensorboard"]),
        (["data.root=/x"], ["'data.root'", "a key of data=folder, data=manifest, data=shards, "]),
        (
            ["model=resnet18", "model.encoder.channels=8"],
            ["a key of model=campplus, model=cnn_lstm, ", " and 17 others"],
        ),
        (["+experiment=dem"], ["experiment=dem", "did you mean demo?"]),
        (["modle=ecapa"], ["'modle'", "did you mean model?"]),
        (["optimiser=adam"], ["'optimiser'", "did you mean optimizer?"]),
        (["trainer.max_epoch=1"], ["'trainer.max_epoch'", "did you mean trainer.max_epochs?"]),
        (["seed=2", "los.margin=1"], ["'los.margin'", "did you mean loss.margin?"]),
        (["loss.margin=0.3", "loss.margin.x=1"], ["loss.margin"]),
        (["name='"], ["name='"]),
        # A group that was chosen too is no part of what is wrong, and its own keys are known.
        (["trainer=cpu", "trainer.max_epoch=3"], ["'trainer.max_epoch'", "did you mean trainer.max_epochs?"]),
        (["optimizer=sgd", "optimizer.momentun=0.9"], ["'optimizer.momentun'", "did you mean optimizer.momentum?"]),
        (["data=folder", "data.rot=/x"], ["'data.rot'", "did you mean data.root?"]),
        (["lr=0.1"], ["'lr'", "did you mean optimizer.lr?"]),
        (["hydra/launcher=slrm"], ["hydra/launcher=slrm: there is none", "did you mean slurm?", "basic, local, "]),
        (["name=a(b"], ["name=a(b", "quotes"]),
        # Members of a group that adds up
        (["+augment/waveform=[gain,telphone]"], ["augment/waveform=telphone", "did you mean telephone?"]),
        (["augment/waveform=gain"], ["write +augment/waveform=..."]),
        (
            ["+augment/waveform=gain", "augment.waveform.gain.gain_dbs=[0,1]"],
            ["augment.waveform.gain.gain_dbs", "did you mean augment.waveform.gain.gain_db?"],
        ),
        (["+augment/waveform=gain", "+augment/waveform=telephone"], ["write +augment/waveform=[a,b] for several"]),
        # What is chosen already, and several of what there is one of
        (["+debug=mini"], ["+debug=: there is one already; write debug=..., without the +"]),
        (["+loss=am"], ["+loss=: there is one already; write loss=..., without the +"]),
        (["loss=aam,triplet"], ["loss=aam,triplet: several values are for -m", "give one; several losses are summed"]),
        (["optimizer.betas=0.9,0.98"], ["are for -m, a run each; a list is written optimizer.betas=[0.9,0.98]"]),
        # Losses that add up
        (["loss=weighted_sum", "+loss@loss.losses.a=supcn"], ["losses.a=supcn", "did you mean supcon?"]),
        (["loss=weighted_sum", "loss@loss.losses.a=supcon"], ["write +loss@loss.losses.a=..."]),
        (["loss=weighted_sum", "loss.losses.aam.margni=1"], ["did you mean loss.losses.aam.margin?"]),
        (
            ["loss=weighted_sum", "loss.losses=[aam]"],
            ["loss.losses=[aam] does not fit", "container types"],
        ),
    ],
)
def test_composition_errors_in_a_line(compose, overrides, expected):
    with pytest.raises((HydraException, ConfigCompositionException, ValueError)) as caught:
        compose(*overrides)
    message = explain_composition(caught.value, "train", overrides)
    assert "\n" not in message
    assert all(part in message for part in expected), message


def test_a_typo_in_a_space_is_not_on_the_command_line(monkeypatch, tmp_path):
    monkeypatch.setattr("speakerlab.cli.explain.CONF", tmp_path)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text("hydra: {sweeper: {params: {'+los.margin': 'interval(0, 1)'}}}\n")
    assert _place("los.margin", ["seed=2", "sweep=mine"]) == "in conf/sweep/mine.yaml"
    assert _place("sed", ["sed=2", "sweep=mine"]) == _place("sed", ["sed=2"]) == "on the command line"


@pytest.mark.parametrize("override", ["model=ecapa", "loss.margin=3", "+data=folder", "ckpts=x"])
def test_an_evaluation_has_no_groups(compose, override):
    with pytest.raises((HydraException, ConfigCompositionException, InputError)) as caught:
        cfg, choices = compose("ckpt=x", override, config_name="evaluate")
        check(cfg, "evaluate", choices)
    message = str(caught.value)
    if not isinstance(caught.value, InputError):
        message = explain_composition(caught.value, "evaluate", ["ckpt=x", override])
    assert message.startswith("unknown key") and "\n" not in message
    assert ("did you mean ckpt?" in message) == (override == "ckpts=x")


def test_a_launcher_that_is_not_installed():
    text = "In 'hydra/launcher/slurm': Could not find 'hydra/launcher/submitit_slurm'\n\nAvailable options ..."
    line = explain_composition(ConfigCompositionException(text), "train", ["seed=1,2", "hydra/launcher=slurm"])
    assert "pip install 'speakerlab[slurm]'" in line and "\n" not in line
