"""What stops a multirun before its first member begins, in a line that names the member."""

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from speakerlab import InputError
from speakerlab.cli.member_checks import check_members, is_optuna, swept_keys

OPTUNA = ["hydra/sweeper=optuna"]


def test_what_varies(sweep):
    assert swept_keys(sweep("loss.margin=0.1,0.2", "seed=3", "model=choice(ecapa,resnet34)")) == [
        "loss.margin",
        "model",
    ]
    margin = sweep("sweep=margin", *OPTUNA)
    assert swept_keys(margin) == ["loss.margin", "loss.scale", "optimizer.lr"] and is_optuna(margin)
    fixed = sweep("sweep=margin", "loss.margin=0.3", *OPTUNA)
    assert swept_keys(fixed) == ["loss.scale", "optimizer.lr"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=ecapa,resnet34", "loss=aam,am"],
        ["sweep=margin", *OPTUNA],
        ["loss.margin=range(0.1, 0.4, 0.1)", "loss.scale=3,4"],
        ["sweep=margin", "objective=[eer,parameters]", "hydra.sweeper.direction=[minimize,minimize]", *OPTUNA],
        ["optimizer=glob(ada*)"],
        ["sweep=architecture", *OPTUNA],  # whose poolings go with the others' first values
    ],
    ids=" ".join,
)
def test_what_can_run(sweep, overrides):
    check_members(sweep(*overrides), "train", ())


@pytest.mark.parametrize(
    "overrides, expected",
    [
        ([], "-m: nothing varies"),
        (["loss.margin=0.1"], "-m: nothing varies"),
        (["loss.margin=0.1,4"], r"margin=4 must be .* \(member: loss\.margin=4\)"),
        (["loss.margin=range(1, 5)", "loss.scale=3,4"], r"margin=2 must .*\(member: loss\.margin=2 loss\.scale=3\)"),
        (["loss.margni=0.1,0.2"], r"'loss\.margni'.*did you mean loss\.margin\?"),
        (["model=ecapa,resnet33"], r"model=resnet33.*did you mean resnet34"),
        (["model=ecapa,resnet34", "model.encoder.scale=8"], r"model\.encoder\.scale.*\(member: model=resnet34\)"),
        (["sweep=margin"], r"loss\.margin=interval\(0\.05, 0\.5\) is a range to draw from: add hydra/sweeper=optuna"),
        (["sweep=margin", "hydra.sweeper.n_trials=0", *OPTUNA], "n_trials=0 must be at least 1"),
        (["sweep=margin,optimizer"], "a study has one space"),
        (["sweep=margin,optimizer", *OPTUNA], "a study has one space"),
        (["loss.margin=interval(0.5, 0.1)", *OPTUNA], r"0\.1\): the first number must be below the second"),
        (["loss.margin=interval(0.1, 3)", *OPTUNA], r"margin=3\.0 must be .*member: loss\.margin=3\.0"),
        (["sweep=margin", "loss=softmax", *OPTUNA], r"loss\.margin"),
        (["sweep=margin", "objective=[eer,parameters]", *OPTUNA], r"direction=\[minimize,minimize\]"),
        (["sweep=margin", "hydra.sweeper.direction=maximize", *OPTUNA], "direction=minimize, not maximize"),
        (["pooling=statistics,none"], "pooling=none"),
        (["objective=[eer],[err]"], "objective: err is none of"),
        (["model=glob(x-*)"], r"model=glob\(x-\*\) stands for no value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_not(sweep, overrides, expected):
    with pytest.raises(InputError, match=expected) as caught:
        check_members(sweep(*overrides), "train", ())
    assert "\n" not in str(caught.value)


def test_evaluation_has_members_too(sweep):
    check_members(sweep("ckpt=a.ckpt,b.ckpt", config_name="evaluate"), "evaluate", ())
    with pytest.raises(InputError, match=r"bootstrap_draws.*\(member: bootstrap_draws=many\)"):
        check_members(sweep("ckpt=a.ckpt", "bootstrap_draws=1,many", config_name="evaluate"), "evaluate", ())


def test_nothing_is_left_behind(sweep):
    config = sweep("loss.margin=0.1,0.2")
    before = HydraConfig.instance().cfg
    check_members(config, "train", ())
    assert HydraConfig.instance().cfg is before and isinstance(GlobalHydra.instance().config_loader(), ConfigLoaderImpl)
