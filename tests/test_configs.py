"""Every file in `conf/`, found by globbing: a new one is tested with no edit here."""

import inspect
import re
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch._subclasses.fake_tensor import FakeTensorMode

from speakerlab import InputError
from speakerlab.build import build, build_network
from speakerlab.config import CONF, SCHEMAS, check, known_targets, locate
from speakerlab.training.assembly import try_components

FILES = sorted(path for path in CONF.rglob("*.yaml") if path.relative_to(CONF).parts[0] != "hydra")
MEMBERS = [path for path in FILES if path.parent != CONF]
BATCH, SAMPLES, SPEAKERS = 3, 16000, 5
# What the default encoder refuses, and how.
FOR_OTHER_ENCODERS = {("pooling", "none"): "needs a pooling", ("frames", "image"): "takes one channel, not 3"}


def name(path: Path) -> str:
    return str(path.relative_to(CONF).with_suffix(""))


def members(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def fill(cfg) -> None:
    """What a user must give (`???`), given."""
    for key in OmegaConf.missing_keys(cfg):
        OmegaConf.update(cfg, key, "given")


def targets_of(path: Path) -> list[str]:
    return re.findall(r"_target_:\s*(\S+)", path.read_text())


@pytest.mark.parametrize("path", FILES, ids=name)
def test_says_what_it_is(path):
    comments = [line for line in path.read_text().splitlines()[:3] if re.match(r"# (?!@package)\S", line)]
    assert comments, f"{path} has no comment line at its top"


@pytest.mark.parametrize("root", sorted(SCHEMAS))
def test_root_composes_and_passes(compose, root):
    cfg, choices = compose(config_name=root)
    fill(cfg)
    assert check(cfg, root, choices)


@pytest.mark.parametrize("path", MEMBERS, ids=name)
def test_member_works_with_the_defaults(compose, path):
    group = path.parent.relative_to(CONF).as_posix()
    is_default = re.search(rf"^  - {group}: ", (CONF / "train.yaml").read_text(), re.MULTILINE)
    cfg, choices = compose(f"{'' if is_default else '+'}{group}={path.stem}")
    assert choices[group] == path.stem
    fill(cfg)
    cfg = check(cfg, "train", choices)
    if (group, path.stem) in FOR_OTHER_ENCODERS:
        with pytest.raises(InputError, match=FOR_OTHER_ENCODERS[group, path.stem]):
            try_components(cfg)
    else:
        try_components(cfg)


@pytest.mark.parametrize("loss", members("loss"))
@pytest.mark.parametrize("model", members("model"))
def test_model_with_loss(compose, model, loss):
    """Shapes alone, without memory or arithmetic: a billion parameters would pass as fast."""
    cfg, choices = compose(f"model={model}", f"loss={loss}")
    cfg = check(cfg, "train", choices)
    with FakeTensorMode():
        network = build_network(cfg)
        criterion = build(cfg.loss, "loss", embed_dim=network.embed_dim, num_speakers=SPEAKERS)
        waveform = torch.zeros(BATCH, SAMPLES)
        embeddings = network(waveform)
        assert embeddings.shape == network(waveform, torch.full((BATCH,), SAMPLES)).shape == (BATCH, network.embed_dim)
        value, logits = criterion(embeddings, torch.zeros(BATCH, dtype=torch.int64))
    assert value.shape == ()
    assert logits is None or logits.shape == (BATCH, SPEAKERS)


def test_targets_are_exact_and_there():
    targets = known_targets()
    assert set(targets) == {target for path in CONF.rglob("*.yaml") for target in targets_of(path)}
    for target in targets:
        assert not re.search(r"[*?\[]", target)
        assert inspect.isclass(locate(target, "conf")), f"{target} is no class"


def test_no_target_reaches_into_torch():
    """`torch.load` and `torch.hub.load` run foreign code."""
    for target in known_targets():
        if target.startswith("torch"):
            assert re.fullmatch(r"torch\.optim\.[A-Z]\w+", target)
            assert issubclass(locate(target, "conf"), torch.optim.Optimizer)
        else:
            assert target.startswith(("speakerlab.", "pytorch_lightning."))


def test_a_target_is_defined_where_it_is_named():
    """`speakerlab.encoders.ecapa.torch.load` would be found there too."""
    for target in known_targets():
        if target.startswith("speakerlab."):
            assert locate(target, "conf").__module__ == target.rpartition(".")[0]


def test_arguments_are_explicit():
    """A typo in an argument that lands in **kwargs would train."""
    for target in known_targets():
        if target.startswith("speakerlab."):
            parameters = inspect.signature(locate(target, "conf")).parameters.values()
            assert not [p.name for p in parameters if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)], target
