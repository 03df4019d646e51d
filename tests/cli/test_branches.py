"""Branches as they are written and as they are expanded."""

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from speakerlab import InputError
from speakerlab.build import build_network
from speakerlab.cli.branches import branch_arguments, expand_branches
from speakerlab.cli.launch import compose
from speakerlab.shipped import CONF

SMALL_SINCNET = ["model=sincnet", "model.encoder.hidden=8", "model.encoder.filters=6"]
TWO = "model.branches={a: {overrides: [model=xvector]}, b: {overrides: [model=lstm,features=mfcc,frames.deltas=1]}}"


def fusion(*overrides: str):
    return compose("train", ["model=fusion", *overrides])[0]


def checkpoint(path, *overrides: str, **changes):
    cfg = OmegaConf.to_container(compose("train", list(overrides))[0], resolve=True)
    weights = {f"network.{name}": value for name, value in build_network(cfg).state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"config": cfg, "speakers": ["a"], "state_dict": weights, "epoch": 3} | changes, path)
    return path


@pytest.mark.parametrize(
    "given, written",
    [
        ([TWO], ["~model.branches", "+" + TWO.replace("[model=xvector]", "['model=xvector']")]),
        (["model.branches.a.overrides=[model=ecapa,x.y=2]"], ["model.branches.a.overrides=['model=ecapa','x.y=2']"]),
        (
            ["+model.branches={a: {overrides: ['a.b=[1,2]',\"c=d\", e=1 ], ckpt: x/y=z}}"],
            ["+model.branches={a: {overrides: ['a.b=[1,2]',\"c=d\", 'e=1 '], ckpt: 'x/y=z'}}"],
        ),
        (["model.branches.a.ckpt=null", "a=[b=c]"], ["model.branches.a.ckpt=null", "a=[b=c]"]),
    ],
)
def test_arguments_as_hydra_takes_them(given, written):
    found = branch_arguments(given)
    if given == [TWO]:
        parts = ["'model=lstm'", "'features=mfcc'", "'frames.deltas=1'"]
        written = [written[0], written[1].replace("[model=lstm,features=mfcc,frames.deltas=1]", f"[{','.join(parts)}]")]
    assert found == written
    assert branch_arguments(found) == found  # a command that was recorded is given again


def test_a_branch_is_what_it_would_be_alone():
    """Any models can be branches, each with its own features, and replace those of conf/model/fusion.yaml."""
    cfg = fusion(TWO, "model.fusion.kind=mean")
    assert list(cfg.model.branches) == ["a", "b"] and cfg.model.fusion.kind == "mean"
    for name, overrides in {"a": ["model=xvector"], "b": ["model=lstm", "features=mfcc", "frames.deltas=1"]}.items():
        alone, _ = compose("train", overrides)
        for part in ("features", "frames", "norm", "pooling", "model"):
            assert cfg.model.branches[name][part] == alone[part], (name, part)
    with torch.device("meta"):
        network = build_network(cfg)
    assert [type(branch.encoder).__name__ for branch in network.branches.values()] == ["XVector", "Lstm"]
    assert network.branches["b"].features.dim == 40  # 20 MFCC and their derivatives
    assert network.embed_dim == 256 and network.fusion.dims == [512, 256]


def test_branches_are_added_and_left_out():
    cfg = fusion("model.branches.mel_cnn=null", "+model.branches.third={overrides: [model=ecapa]}")
    assert list(cfg.model.branches) == ["sincnet", "third"]
    assert cfg.model.branches.third.model.encoder.channels == 512


@pytest.mark.parametrize("member", ["xvector", "none"])
def test_hydra_is_left_as_it_was(member):
    """A script runs under it, and its settings are looked up there."""
    branches = {"a": {"overrides": ["model=lstm"]}, "b": {"overrides": [f"model={member}"]}}
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(config_dir=str(CONF)):
        kept = GlobalHydra.instance().hydra
        cfg = hydra.compose("train", ["model=fusion"])
        OmegaConf.set_struct(cfg, False)
        cfg.model.branches = branches
        if member == "none":
            with pytest.raises(InputError, match="model=none: there is no"):
                expand_branches(cfg)
        else:
            assert set(expand_branches(cfg).model.branches.b) >= {"features", "frames", "norm", "pooling", "model"}
        assert GlobalHydra.instance().hydra is kept
    alone, _ = compose("train", ["model=ecapa"])
    assert expand_branches(alone) is alone


def test_a_checkpoint_gives_a_branch_its_network(tmp_path):
    """Of a run's folder its best; what was written for the branch does not count, and nothing but this config is needed
    to build it."""
    checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt", *SMALL_SINCNET, "model.encoder.embed_dim=7")
    cfg = fusion(f"model.branches.sincnet.ckpt={tmp_path / 'run'}")
    node = cfg.model.branches.sincnet
    assert node.ckpt == str(tmp_path / "run" / "checkpoints" / "best.ckpt") and node.overrides == []
    assert node.model.encoder.embed_dim == 7 and node.model.encoder.hidden == 8
    (tmp_path / "run" / "checkpoints" / "best.ckpt").unlink()
    with torch.device("meta"):
        assert build_network(OmegaConf.to_container(cfg, resolve=True)).fusion.dims == [7, 256]


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["features=mfcc"], r"^features: model=fusion has none of its own, .* model\.branches\.<name>\.overrides$"),
        (["norm=mean"], "^norm: model=fusion has none"),
        (["pooling=mean"], "^pooling: model=fusion has none"),
        (["frames.deltas=1"], r"^frames\.deltas: model=fusion has none"),
        (["model.branches.mel_cnn=null"], "^model.branches: a fusion needs at least two, not sincnet$"),
        (["model.branches=null"], "^model.branches: a fusion needs at least two, not none$"),
        (["model.branches={a: ecapa, b: {ckpt: x}}"], r"^model\.branches\.a=ecapa: give it as \{overrides: "),
        (["model.branches={keys: {ckpt: x}, b: {ckpt: x}}"], "^model.branches.keys: 'keys' can't be a branch's name"),
        (["model.branches={a: {overides: []}, b: {}}"], r"^unknown key 'model\.branches\.a\.overides'; did you mean"),
        (["model.branches.mel_cnn.overrides=[model=mel_cn]"], r"^model\.branches\.mel_cnn\.overrides: .*mel_cnn\?"),
        (
            ["model.branches.mel_cnn.overrides=[model=mel_cnn,model.encoder.chanels=3]"],
            r"^model\.branches\.mel_cnn\.overrides: unknown key '.*chanels'.* mean model\.encoder\.channels",
        ),
        (
            ["model.branches.mel_cnn.overrides=[model=mel_cnn,+model.encoder.chanels=3]"],
            r"^model\.branches\.mel_cnn\.model\.encoder\.chanels: .* did you mean channels\?$",
        ),
        (
            ["model.branches.mel_cnn.overrides=[model=mel_cnn,model.encoder.embed_dim=x]"],
            r"^model\.branches\.mel_cnn\.model\.encoder\.embed_dim='x' must be int",
        ),
        (
            ["model.branches.mel_cnn.overrides=[model=mel_cnn,frames.deltas=x]"],
            r"^model\.branches\.mel_cnn\.overrides: frames\.deltas: Value 'x'",
        ),
        (["model.branches.mel_cnn.overrides=[loss=aam]"], r"overrides: loss=aam is not of a network alone"),
        (["model.branches.mel_cnn.overrides=['model=ecapa,lstm']"], "model=ecapa,lstm is not of a network alone"),
        (["model.branches.mel_cnn.overrides=[model=fusion]"], "a fusion can't be a branch of a fusion"),
        (
            ["model.branches.mel_cnn.overrides=model=ecapa"],
            r"must be a list such as \[model=ecapa\]; or give .*\.ckpt=RUN",
        ),
        (
            ["model.branches.mel_cnn.ckpt=nowhere"],
            r"^model\.branches\.mel_cnn\.ckpt=\S*nowhere: there is no such file$",
        ),
        (["model.fusion.kid=mean"], "did you mean model.fusion.kind"),
    ],
)
def test_mistakes_name_the_branch(overrides, message):
    with pytest.raises(InputError, match=message) as caught:
        fusion(*overrides)
    assert "\n" not in str(caught.value)


def test_checkpoints_that_are_no_branches(tmp_path):
    def refused(path) -> str:
        with pytest.raises(InputError, match=r"^model\.branches\.sincnet\.ckpt=") as caught:
            fusion(f"model.branches.sincnet.ckpt={path}")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    path = checkpoint(tmp_path / "a.ckpt", *SMALL_SINCNET, "loader.sample_rate=8000")
    assert refused(path).endswith("a.ckpt is of a network for 8000 Hz; the others get loader.sample_rate=16000")
    contents = torch.load(path, weights_only=True)
    for change, said in (
        (
            {"model": {"encoder": {"_target_": "os.system"}}},
            "names os.system, which is neither a feature nor an encoder",
        ),
        ({"model": {"branches": {}}}, "is a fusion itself; give its branches' own checkpoints"),
    ):
        torch.save(contents | {"config": contents["config"] | change}, path)
        assert said in refused(path)
    del contents["config"]["norm"]
    torch.save(contents, path)
    assert "lacks norm" in refused(path)
    path.write_bytes(path.read_bytes()[:1000])
    assert "is damaged or none" in refused(path)
    torch.save({"weights": torch.zeros(3)}, path)
    assert "was not written by speakerlab" in refused(path)
    assert "holds no checkpoints/best.ckpt" in refused(tmp_path)
