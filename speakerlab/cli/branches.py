"""`model.branches`: what train.py would be given for each network alone becomes the nodes that it is built from."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from speakerlab import InputError
from speakerlab.cli.explain import explain_composition
from speakerlab.schema import FramesConfig
from speakerlab.shipped import CONF, nearest

PARTS = ("features", "frames", "norm", "pooling", "model")
KEYS = ("overrides", "ckpt")
HOW = "put it into model.branches.<name>.overrides"


def branch_arguments(arguments: list[str]) -> list[str]:
    """Arguments of the command line as Hydra takes them.

    `model.branches={...}` gives all branches: Hydra alone would add them to those of conf/model/fusion.yaml. Overrides
    in it need no quotes, unless they hold commas or brackets themselves.

    >>> branch_arguments(["seed=2", "model.branches={a: {overrides: [model=ecapa]}}"])
    ['seed=2', '~model.branches', "+model.branches={a: {overrides: ['model=ecapa']}}"]
    """
    written = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if not key.lstrip("+").startswith("model.branches"):
            written.append(argument)
            continue
        quoted = re.sub(r"""('[^']*'|"[^"]*")|([\w./@~+-]+=[^,\[\]{}'"]*)""", lambda m: m[1] or f"'{m[2]}'", value)
        whole = key == "model.branches" and value.startswith("{")
        written += ["~model.branches", f"+{key}={quoted}"] if whole else [f"{key}={quoted}"]
    return written


def expand_branches(cfg: DictConfig, trust: tuple[str, ...] = ()) -> DictConfig:
    """The config with `features`, `frames`, `norm`, `pooling` and `model` beneath each branch's name, from its
    `overrides` or out of the checkpoint `ckpt`, whose path becomes that of the file; any other config as it is.

    Args:
        cfg: as Hydra composed it, before it is checked.
        trust: classes that checkpoints of branches may name besides this project's own.

    Raises:
        InputError: naming the branch and what is wrong with it.
    """
    model = cfg.get("model")
    if not isinstance(model, DictConfig) or "branches" not in model:
        return cfg
    _refuse_own_parts(cfg)
    branches = {str(name): node for name, node in (model.branches or {}).items() if node is not None}
    if len(branches) < 2:
        raise InputError(f"model.branches: a fusion needs at least two, not {', '.join(branches) or 'none'}")
    expanded = {name: _expanded(name, node, cfg, trust) for name, node in branches.items()}
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.model.branches = expanded
    return cfg


def _refuse_own_parts(cfg: DictConfig) -> None:
    """Refuse features and the like of the whole: nothing would read them."""
    for part in ("features", "norm", "pooling"):
        if cfg[part]:
            raise InputError(f"{part}: model=fusion has none of its own, but its branches have: {HOW}")
    default = OmegaConf.load(CONF / "frames" / "default.yaml")
    if cfg.frames != default:
        changed = [name for name in cfg.frames if cfg.frames[name] != default.get(name)]
        raise InputError(f"frames.{changed[0]}: model=fusion has none of its own, but its branches have: {HOW}")


def _expanded(name: str, node: object, cfg: DictConfig, trust: tuple[str, ...]) -> dict:
    key = f"model.branches.{name}"
    # A name becomes an attribute of a module, and a part of keys.
    if not name.isidentifier() or name in _taken_names():
        raise InputError(f"{key}: {name!r} can't be a branch's name; take letters, digits and _, such as first")
    if not isinstance(node, DictConfig):
        raise InputError(f"{key}={node}: give it as {{overrides: [model=ecapa]}} or {{ckpt: RUN}}")
    for given in node:
        if given not in KEYS:
            raise InputError(f"unknown key '{key}.{given}'{nearest(str(given), list(KEYS))}; {HOW}")
    overrides, checkpoint = node.get("overrides"), node.get("ckpt")
    if checkpoint is not None:
        return _from_checkpoint(key, str(checkpoint), cfg, trust)
    if not OmegaConf.is_list(overrides) or not all(isinstance(override, str) for override in overrides):
        raise InputError(f"{key}.overrides={overrides} must be a list such as [model=ecapa]; or give {key}.ckpt=RUN")
    return {"overrides": list(overrides), "ckpt": None, **_composed(f"{key}.overrides", list(overrides))}


def _taken_names() -> set[str]:
    from torch import nn

    return set(dir(nn.ModuleDict()))


def _from_checkpoint(key: str, path: str, cfg: DictConfig, trust: tuple[str, ...]) -> dict:
    """What the checkpoint's network was built from."""
    from speakerlab.build import load_checkpoint
    from speakerlab.inference.model import find_checkpoint
    from speakerlab.untrusted import check_network

    try:
        found = find_checkpoint(path)
        config = load_checkpoint(found)["config"]
        if "branches" in config.get("model", {}):
            raise InputError(f"ckpt={path} is a fusion itself; give its branches' own checkpoints")
        check_network(config, trust)
        rate = config["loader"]["sample_rate"]
        if rate != cfg.loader.sample_rate:
            raise InputError(
                f"ckpt={path} is of a network for {rate} Hz; the others get loader.sample_rate={cfg.loader.sample_rate}"
            )
    except InputError as error:
        text = str(error)
        raise InputError(f"{key}.{text if text.startswith('ckpt=') else f'ckpt={path}: {text}'}") from error
    return {"overrides": [], "ckpt": str(found), **{part: config[part] for part in PARTS}}


def _composed(key: str, overrides: list[str]) -> dict:
    """What train.py's own configuration has for a network with these overrides."""
    from hydra import compose

    _check_overrides(key, overrides)
    try:
        with _own_hydra():
            cfg = compose("train", overrides)
    except Exception as error:  # Hydra's and OmegaConf's have no common base
        raise InputError(f"{key}: {explain_composition(error, 'train', overrides)}") from error
    if isinstance(cfg.model, DictConfig) and "branches" in cfg.model:
        raise InputError(f"{key}: a fusion can't be a branch of a fusion; add its branches instead")
    typed = {"frames": OmegaConf.structured(FramesConfig)}  # what is read into no class of its own
    try:
        merged = OmegaConf.merge(typed, OmegaConf.masked_copy(cfg, PARTS))
        return OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(f"{key}: {error.full_key}: {str(error.msg or error).splitlines()[0]}") from error


def _check_overrides(key: str, overrides: list[str]) -> None:
    """Refuse what is not of a network alone: it would change nothing."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise InputError(f"{key}: {explain_composition(error, 'train', [text])}") from error
        if override.key_or_group.split(".")[0] not in PARTS or override.is_sweep_override():
            raise InputError(f"{key}: {text} is not of a network alone, whose groups are {', '.join(PARTS)}")


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Hydra to compose with, whether a script runs under it or not; afterwards as it was."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    state = GlobalHydra.instance()
    kept, state.hydra = state.hydra, None
    try:
        with initialize_config_dir(config_dir=str(CONF)):
            yield
    finally:
        GlobalHydra.instance().hydra = kept
