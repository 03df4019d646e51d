"""A config composed without a script is the script's, and its mistakes are the script's in the same words."""

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from speakerlab import InputError
from speakerlab.cli.launch import compose, trusted_on_command_line
from speakerlab.config import check


def test_the_same_config_as_a_script_gets(request):
    overrides = ["loss.margin=0.3", "augment=specaugment", "seed=4"]
    cfg, choices = compose("train", overrides)
    of_a_script, its_choices = request.getfixturevalue("compose")(*overrides)
    assert cfg == check(of_a_script, "train", its_choices)
    assert choices == its_choices
    assert cfg.name == "ecapa_aam" and OmegaConf.is_config(cfg)


def test_nothing_is_left_behind():
    compose("train", [])
    assert HydraConfig.instance().cfg is None


@pytest.mark.parametrize(
    "overrides, expected",
    [
        (["model=ecappa"], ["model=ecappa", "did you mean ecapa?"]),
        (["loss.margni=0.3"], ["'loss.margni'", "did you mean loss.margin?"]),
        (["+loss.margins=0.3"], ["loss.margins", "conf/loss/aam.yaml"]),
        (["loss=[aam,aam]"], ["give one member"]),
        (["seed=one"], ["seed"]),
        (["name=a b=c"], ["quotes"]),
        (["+callbacks.mine._target_=abc.Def"], ["trust=[abc.Def]"]),
    ],
)
def test_mistakes(overrides, expected):
    with pytest.raises(InputError) as caught:
        compose("train", overrides)
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in expected)


def test_trust_is_read_from_the_words_given():
    assert trusted_on_command_line(["a=1", "trust=[x.Y, z.*]"]) == ("x.Y", "z.*")
    assert trusted_on_command_line([]) == ()


@pytest.mark.parametrize("place", ["mine.yaml", "deep/er/mine.yaml", "absolute"])
def test_an_experiment_may_be_any_file(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml" if place == "absolute" else tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("defaults:\n  - override /loss: am\nloss:\n  margin: 0.31\nname: mine\n")
    given = str(path) if place == "absolute" else place
    cfg, choices = compose("train", [f"experiment={given}", "seed=4"])
    assert (cfg.loss.margin, cfg.name, choices["loss"], cfg.seed) == (0.31, "mine", "am", 4)
    path.write_text("loss:\n  margin: 0.11\n")  # another file of this name, in the same process
    assert compose("train", [f"experiment={given}"])[0].loss.margin == 0.11


@pytest.mark.parametrize(
    "content, expected", [(None, "there is no such file"), ("a: [", "is no YAML file"), ("loss: {margni: 1}", "margni")]
)
def test_experiment_files_with_mistakes(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(InputError, match=expected):
        compose("train", [f"experiment={tmp_path / 'mine.yaml'}"])
