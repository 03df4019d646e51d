"""Every file in `conf/`, found by globbing: a new one is tested with no edit here."""

import inspect
import itertools
import pickle
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import DictConfig, OmegaConf
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data import default_collate

from speakerlab import InputError
from speakerlab.augment.recipe import Recipe
from speakerlab.build import build, build_augment, build_loss, build_network
from speakerlab.cli.launch import compose as compose_config
from speakerlab.config import CONF, check, known_targets, locate
from speakerlab.data.clip_folders import clips_below
from speakerlab.inference.scoring import check_scoring
from speakerlab.schema import SCHEMAS
from speakerlab.training.assembly import try_components

# `hydra` is Hydra's own; `prepare` holds no config of a run but the sources of corpora.
FILES = sorted(path for path in CONF.rglob("*.yaml") if path.relative_to(CONF).parts[0] not in ("hydra", "prepare"))
MEMBERS = [path for path in FILES if path.parent != CONF]
BATCH, SAMPLES, SPEAKERS = 4, 16000, 5
# What a member needs besides itself.
WITH = {("debug/batch", path.stem): [f"sampler={path.stem}"] for path in (CONF / "sampler").glob("*.yaml")}
# What the default encoder refuses, and how.
FOR_OTHER_ENCODERS = {
    ("features", "none"): "only model=fusion has none of its own",
    ("features", "raw"): "takes frames; choose features such as fbank",
    ("pooling", "none"): "needs a pooling",
    ("frames", "image"): "takes one channel, not 3",
    ("frames", "delta_channels"): "takes one channel, not 3",
}


def name(path: Path) -> str:
    return str(path.relative_to(CONF).with_suffix(""))


def members(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def fill(cfg) -> None:
    """What a user must give (`???`), given."""
    for key in OmegaConf.missing_keys(cfg):
        OmegaConf.update(cfg, key, "given")
    if "fine_tuning" in cfg and cfg.fine_tuning.ckpt == "":
        cfg.fine_tuning.ckpt = None  # there is no first stage


def targets_of(path: Path) -> list[str]:
    return re.findall(r"_target_:\s*(\S+)", path.read_text())


@pytest.mark.parametrize("path", FILES, ids=name)
def test_says_what_it_is(path):
    comments = [line for line in path.read_text().splitlines()[:3] if re.match(r"# (?!@package)\S", line)]
    assert comments, f"{path} has no comment line at its top"


def cells(document: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, below its head."""
    _, _, rest = f"\n{(CONF.parent / document).read_text()}".partition(f"\n{heading}\n")
    _, _, body = rest.partition("|---")
    lines = itertools.takewhile(lambda line: line.startswith("|"), body.splitlines()[1:])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(text: str, known: list[str]) -> list[str]:
    """The members that a cell means: of "`a18` to `a50`" all known between, of "`a18` (and 34)" `a34` too.

    >>> named("`a18` to `a50`, `b` (two), `c1_x` (and 2, 3)", ["a18", "a34", "a50", "a101", "b", "c1_x"])
    ['a18', 'a34', 'a50', 'b', 'c1_x', 'c2_x', 'c3_x']
    """
    found = []
    for first, last, others in re.findall(r"`(\w+)`(?: to `(\w+)`)?(?: \(and ([\d, ]+)\))?", text):
        stem, number, end = re.fullmatch(r"(.*?)(\d*)(\D*)", first).groups()
        alike = [re.fullmatch(rf"{re.escape(stem)}(\d+){re.escape(end)}", member) for member in known if last]
        most = int(re.search(r"\d+", last)[0]) if last else 0
        between = [match for match in alike if match and int(number) <= int(match[1]) <= most]
        found += [match[0] for match in sorted(between, key=lambda match: int(match[1]))] or [first]
        found += [f"{stem}{other}{end}" for other in others.split(", ") if other]
    return found


def test_the_readme_names_every_group_and_member():
    """The table of groups, against the folders; parts of augmentations are in a page of their own."""
    known = {path.name: members(path.name) for path in CONF.iterdir() if path.is_dir()}
    table = {group.strip("`"): text for group, _, text in cells("README.md", "## Configuration")}
    assert set(table) == set(known) - {"hydra", "prepare"}
    for group, text in table.items():
        assert sorted(named(text, known[group])) == known[group], f"README's row of {group}"


def test_the_page_on_augmentation_names_every_recipe_and_part():
    recipes = [name.strip("`") for name, _ in cells("docs/augmentation.md", "# Augmentation")]
    assert sorted(recipes) == members("augment")
    found, group = [], ""
    for cell, part, *_ in cells("docs/augmentation.md", "## Parts"):
        group = cell.strip("`") or group
        found.append((group, part.strip("`")))
    assert sorted(found) == sorted((path.parent.name, path.stem) for path in (CONF / "augment").glob("*/*.yaml"))


@pytest.mark.parametrize("root", sorted(SCHEMAS))
def test_root_composes_and_passes(compose, root):
    cfg, choices = compose(*(["ckpt=given"] if root == "evaluate" else []), config_name=root)
    fill(cfg)
    assert check(cfg, root, choices)


@pytest.mark.parametrize("member", members("scoring"))
def test_scoring_works_with_the_defaults(compose, member):
    """Of `evaluate.py`, whose only group it is."""
    cfg, choices = compose("ckpt=given", f"scoring={member}", config_name="evaluate")
    check_scoring(check(cfg, "evaluate", choices).scoring)


@pytest.mark.parametrize("path", [path for path in MEMBERS if path.parent.name != "scoring"], ids=name)
def test_member_works_with_the_defaults(compose, path):
    group = path.parent.relative_to(CONF).as_posix()
    is_default = re.search(rf"^  - {group}: ", (CONF / "train.yaml").read_text(), re.MULTILINE)
    cfg, choices = compose(f"{'' if is_default else '+'}{group}={path.stem}", *WITH.get((group, path.stem), []))
    assert choices[group] == path.stem
    fill(cfg)
    cfg = check(cfg, "train", choices)
    if (group, path.stem) in FOR_OTHER_ENCODERS:
        with pytest.raises(InputError, match=FOR_OTHER_ENCODERS[group, path.stem]):
            try_components(cfg)
    else:
        try_components(cfg)


@pytest.fixture(scope="module")
def losses() -> dict[str, DictConfig]:
    """The composition with each loss, and of the default one with each regulariser."""
    changes = [f"{group}={member}" for group in ("loss", "regulariser") for member in members(group)]
    return {change: compose_config("train", [change])[0] for change in changes}


def first_of_each_class() -> set[str]:
    """The models that the quick suite runs: one for each class that an encoder's file names."""
    found: dict[str, str] = {}
    for model in members("model"):
        for target in targets_of(CONF / "model" / f"{model}.yaml"):
            found.setdefault(target, model)
    return set(found.values())


QUICK = first_of_each_class()


@pytest.mark.parametrize(
    "model", [pytest.param(model, marks=() if model in QUICK else pytest.mark.slow) for model in members("model")]
)
def test_model_with_every_loss(compose, model, losses):
    """The network's shapes alone, without memory or arithmetic: a billion parameters would pass as fast."""
    cfg, choices = compose(f"model={model}")
    cfg = check(cfg, "train", choices)
    with FakeTensorMode():
        network = build_network(cfg)
        waveform = torch.zeros(BATCH, SAMPLES)
        embeddings = network(waveform)
        assert embeddings.shape == network(waveform, torch.full((BATCH,), SAMPLES)).shape == (BATCH, network.embed_dim)
    for change, composed in losses.items():
        value, logits = build_loss(composed, network.embed_dim, SPEAKERS)(
            torch.ones(BATCH, network.embed_dim), torch.arange(BATCH) // 2
        )
        assert value.shape == (), change
        assert logits is None or logits.shape == (BATCH, SPEAKERS), change


@pytest.mark.parametrize("pooling", members("pooling"))
def test_a_pooling_shows_the_weights_that_it_uses(compose, monkeypatch, pooling):
    """Those that weigh frames: see `speakerlab.encoders.pooling`."""
    cfg, _ = compose(f"pooling={pooling}")
    made = build(cfg.pooling, "pooling", 16).eval() if cfg.pooling else None
    if not hasattr(made, "attention"):
        return
    lengths = torch.tensor([9, 4])
    mask = torch.arange(9)[None, None] < lengths[:, None, None]  # (batch, 1, frames)
    x = torch.randn(2, 16, 9, generator=torch.Generator().manual_seed(0))
    weights = made.attention(x, mask)
    assert weights.ndim == 3 and weights.shape[::2] == (2, 9) and weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(weights.shape[:2]))
    assert (weights[1, :, 4:] == 0).all() and (weights[1, :, :4] > 0).all()
    alone = torch.zeros_like(weights)
    alone[..., 2] = 1.0
    monkeypatch.setattr(made, "attention", lambda x, mask=None: alone)
    assert torch.equal(made(x, mask), made(x.index_fill(2, torch.tensor([0, 1, 3]), 7.0), mask))  # none but frame 2


@pytest.fixture(scope="module")
def folders_of_sound(tmp_path_factory) -> list[str]:
    """Overrides that give every augmentation a folder of decaying noise."""
    root = tmp_path_factory.mktemp("sounds")
    generator = np.random.default_rng(0)
    for i in range(9):
        sound = 0.3 * generator.standard_normal(4000 * (i + 1)) * np.exp(-np.arange(4000 * (i + 1)) / 900)
        soundfile.write(root / f"{i}.wav", sound, 16000)
    return [f"augment.{kind}_dir={root}" for kind in ("noise", "music", "babble", "rir")]


@pytest.fixture
def recipe(compose, folders_of_sound, tmp_path):
    """`recipe("augment=noise")`: the recipe, with every folder given that it reads."""

    def make(*overrides: str) -> Recipe:
        unresolved = OmegaConf.to_yaml(compose(*overrides)[0].augment)
        read = [given for given in folders_of_sound if f"${{{given.partition('=')[0]}}}" in unresolved]
        cfg, choices = compose(*overrides, *read)
        return build_augment(check(cfg, "train", choices).augment, 16000, partial(clips_below, cache_dir=tmp_path))

    return make


def same_values(first: dict, second: dict) -> bool:
    """Whether nested dicts of arrays have the same keys and the same arrays."""
    if not isinstance(first, dict):
        return np.array_equal(first, second)
    return first.keys() == second.keys() and all(same_values(first[key], second[key]) for key in first)


def leaves(drawn: dict) -> list[np.ndarray]:
    return [leaf for value in drawn.values() for leaf in (leaves(value) if isinstance(value, dict) else [value])]


@pytest.mark.parametrize("folders", ["with", "without"])
@pytest.mark.parametrize(
    "kind, member", [(kind, m) for kind in ("waveform", "spectrum") for m in members(f"augment/{kind}")]
)
def test_augmentation_keeps_its_contract(recipe, compose, kind, member, folders):
    """See `speakerlab.augment`: fixed keys and shapes, float32, no batch mates, no waiting for the device."""
    without = [f"augment.{name}_dir=null" for name in ("noise", "music", "babble", "rir") if folders == "without"]
    built = getattr(recipe(f"+augment/{kind}={member}", *without), kind).augmentations
    if not built and without:
        return  # off, which `test_augmentations_without_a_folder_are_off` holds
    (augmentation,) = built.values()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*((6, 8000) if kind == "waveform" else (6, 50, 20)), generator=generator)
    items = [augmentation.draw(np.random.default_rng(seed), 8000) for seed in range(len(x))]
    neutral = augmentation.neutral(8000)
    for item in items:
        assert [(leaf.shape, leaf.dtype) for leaf in leaves(item)] == [
            (leaf.shape, np.float32) for leaf in leaves(neutral)
        ]
    drawn, spared = default_collate(items), default_collate([neutral] * len(x))
    y = augmentation.apply(x, drawn)
    assert y.shape == x.shape and y.dtype == torch.float32 and y.isfinite().all() and not torch.equal(x, y)
    torch.testing.assert_close(augmentation.apply(x, spared), x, atol=1e-5, rtol=0)
    assert augmentation.apply(torch.zeros_like(x), drawn).isfinite().all()
    for i in range(len(x)):
        alone = augmentation.apply(x[i : i + 1], default_collate([items[i]]))
        torch.testing.assert_close(alone, y[i : i + 1], atol=1e-5, rtol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augmentation.apply(x, drawn), y)
    copy = pickle.loads(pickle.dumps(augmentation))
    assert same_values(copy.draw(np.random.default_rng(3), 8000), items[3])
    with FakeTensorMode() as fake:  # where a value that the host would wait for is an error
        as_fake = torch.utils._pytree.tree_map(fake.from_tensor, drawn)
        assert augmentation.apply(fake.from_tensor(x), as_fake).shape == x.shape


@pytest.mark.parametrize("member", members("augment/recording"))
def test_recording_keeps_its_contract(recipe, member):
    chain = recipe(f"+augment/recording={member}", f"augment.recording.{member}.probability=1").recording
    x = np.random.default_rng(0).uniform(-0.1, 0.1, 5000).astype(np.float32)
    y = chain.process((1, 2, 3), x)
    assert y.shape == x.shape and y.dtype == np.float32 and np.isfinite(y).all() and not np.array_equal(x, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(chain)).process((1, 2, 3), x), y)


@pytest.mark.parametrize("member", members("augment"))
def test_preset_augments(recipe, member):
    augment = recipe(f"augment={member}")
    x = torch.randn(16, 8000, generator=torch.Generator().manual_seed(0))
    items = [augment.draw((1, 0, position, 0), 8000) for position in range(len(x))]
    y = augment.waveform.apply(x, default_collate([item["waveform_draws"] for item in items]))
    assert y.shape == x.shape and y.isfinite().all()
    assert torch.equal(x, y) == (member in ("none", "specaugment"))


def test_targets_are_exact_and_there():
    targets = known_targets()
    shipped = [path for path in CONF.rglob("*.yaml") if CONF / "hydra" not in path.parents]
    assert set(targets) == {target for path in shipped for target in targets_of(path)}
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
