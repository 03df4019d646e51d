"""The checks that stop a typo before anything is built."""

import inspect
import os
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from speakerlab import InputError
from speakerlab.schema import SCHEMAS
from speakerlab.shipped import CONF, known_targets, nearest

HYDRA_KEYS = {"_target_", "_convert_", "_partial_", "_recursive_"}


def check(cfg: DictConfig, config_name: str, choices: dict[str, str], trust: tuple[str, ...] = ()) -> DictConfig:
    """The config against its schema: every key known, every value of the right kind, every target trusted.

    Args:
        cfg: as Hydra composed it.
        config_name: "train" or "evaluate".
        choices: the chosen member of each config group, for messages.
        trust: further targets that the user's command line admits.

    Returns:
        the config with the schema's types.

    Raises:
        InputError: naming the key, the file it comes from and the nearest right name.
    """
    schema = OmegaConf.structured(SCHEMAS[config_name])
    known = [entry.name for entry in fields(SCHEMAS[config_name])]
    for key in cfg:
        if key not in known:
            raise InputError(f"unknown key {key!r} in the config{nearest(str(key), known)}")
    try:
        missing = sorted(OmegaConf.missing_keys(cfg))
        if missing:
            raise InputError(f"{missing[0]} must be given: add {missing[0]}=... to the command line")
        OmegaConf.resolve(cfg)
        typed = OmegaConf.merge(schema, cfg)
        lost = sorted(OmegaConf.missing_keys(typed))
    except OmegaConfBaseException as error:
        raise InputError(f"{error.full_key}: {str(error.msg or error).splitlines()[0]}") from error
    if lost:
        key = lost[0].split(".")[0]
        raise InputError(f"{key} is missing from the config: take ~{key} off the command line")
    if config_name == "evaluate" and typed.ckpt is None and typed.embeddings is None and typed.scores is None:
        raise InputError("ckpt must be given: add ckpt=CHECKPOINT, or embeddings=PATH, to the command line")
    if cfg.get("ckpt") == "":
        raise InputError("ckpt= is empty: give a checkpoint's path")
    # What an experiment demands so, since its ??? would leave the root's null as it is.
    if config_name == "train" and typed.fine_tuning.ckpt == "":
        raise InputError("fine_tuning.ckpt must be given: add fine_tuning.ckpt=... to the command line")
    targets = {*known_targets(), *trust}
    if config_name == "train":
        _check_folders_are_read(typed.augment)
    _check_node(typed, "", choices, targets)
    return typed


def _check_folders_are_read(augment: DictConfig) -> None:
    """Refuse a folder of noise or the like that nothing would take its audio from: the user expects that it is used."""
    folders = {key: value for key, value in augment.items() if key.endswith("_dir")}
    used = set(_strings([value for key, value in OmegaConf.to_container(augment).items() if key not in folders]))
    for key, folder in folders.items():
        if folder is None or folder in used:
            continue
        readers = [
            f"+augment/{path.parent.name}={path.stem}"
            for path in sorted((CONF / "augment").glob("*/*.yaml"))
            if f"${{augment.{key}}}" in path.read_text("utf-8")
        ]
        raise InputError(
            f"augment.{key}={folder}: no augmentation that is on reads it; "
            f"add augment=voxceleb or {' or '.join(readers)}, or take augment.{key} away"
        )


def _strings(node: Any) -> Iterator[str]:
    """Every string in a plain config, however deep."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _strings(child)


def _check_node(node: Any, key: str, choices: dict[str, str], targets: set[str]) -> None:
    if isinstance(node, DictConfig) and "_target_" in node:
        _check_target(node, key, choices, targets)
    if isinstance(node, DictConfig):
        for name in node:
            _check_node(node[name], f"{key}.{name}" if key else str(name), choices, targets)


def _check_target(node: DictConfig, key: str, choices: dict[str, str], targets: set[str]) -> None:
    target = str(node["_target_"])
    admitted = target in targets or any(
        pattern.endswith(".*") and target.startswith(pattern[:-1]) for pattern in targets
    )
    if not admitted:
        hint = nearest(target, list(known_targets(key.split(".")[0])))
        hint = hint or f"; if it is your own, add trust=[{target}] to the command line"
        raise InputError(f"{key}._target_: {target} is not a class that a config may name{hint}")
    parameters = inspect.signature(locate(target, key)).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    where = _where(key, choices)
    for name in node:
        if name in HYDRA_KEYS:
            continue
        if name not in parameters:
            hint = nearest(str(name), list(parameters))
            raise InputError(f"{key}.{name}: {target} has no argument {name!r} ({where}){hint}")
        annotation = parameters[name].annotation
        off = name == "folder" and lacks_folder(node, parameters)
        if not off and not _fits(node[name], annotation):
            raise InputError(f"{key}.{name}={node[name]!r} must be {_described(annotation)} ({where})")


def untrained_branches(config: dict) -> list[str]:
    """The branches, "" of a network that is one, whose networks a run on saved embeddings has no trained weights of:
    those that began with no other run's."""
    start = config.get("fine_tuning") or {}
    on_audio = not str((config.get("data") or {}).get("_target_")).endswith(".EmbeddingsCorpus")
    if on_audio or (start.get("ckpt") is not None and "network" in start.get("load", ())):
        return []
    return [name for name, node in config["model"].get("branches", {"": {}}).items() if node.get("ckpt") is None]


def check_hears(config: dict) -> None:
    """Refuse a checkpoint's config by which networks were never trained.

    Raises:
        InputError: saying so.
    """
    deaf = untrained_branches(config)
    if deaf:
        raise InputError(
            "this checkpoint was trained on saved embeddings and holds no trained network for audio "
            f"({', '.join(deaf) or 'the network'}): evaluate it with embeddings=[PATH,...], or train it with "
            "model.branches.<name>.ckpt=RUN"
        )


def lacks_folder(node: DictConfig | dict, parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Whether a node, such as an augmentation's, got no folder though its class takes audio from one; it is off."""
    return "clips" in parameters and node["folder"] is None and parameters["folder"].annotation is str


def locate(target: str, key: str) -> Any:
    """The class that a dotted name stands for; InputError if there is none."""
    import importlib

    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{key}._target_: {target} can't be imported: {error}") from error


def _where(key: str, choices: dict[str, str]) -> str:
    group = key.split(".")[0]
    choice = choices.get(group)
    return f"conf/{group}/{choice}.yaml or the command line" if choice else "the command line"


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a config value has the annotated type; True for annotations that say nothing about plain values."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(annotation))
    if annotation in (None, type(None)):
        return value is None
    if annotation is bool:
        return isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is str:
        return isinstance(value, str)
    if origin in (list, tuple):
        return isinstance(value, ListConfig) and _items_fit(value, typing.get_args(annotation))
    if annotation in (Any, object, inspect.Parameter.empty) or not isinstance(annotation, type):
        return True
    if isinstance(value, str) and issubclass(annotation, os.PathLike):
        return True
    return isinstance(value, annotation) or not isinstance(value, bool | int | float | str)


def _items_fit(values: ListConfig, kinds: tuple[Any, ...]) -> bool:
    """Whether a list's values have the types of `list[float]`, `tuple[float, ...]` or `tuple[float, float]`."""
    alike = len(kinds) == 1 or Ellipsis in kinds
    if not alike and len(values) != len(kinds):
        return False
    return all(_fits(value, kinds[0] if alike else kinds[place]) for place, value in enumerate(values))


def _described(annotation: Any) -> str:
    """An annotation in words: `int or null`."""
    options = typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else ()
    if options:  # a config can't hold a tensor or the like
        plain = [option for option in options if getattr(option, "__module__", "builtins") == "builtins"]
        return " or ".join(_described(option) for option in plain or options)
    if typing.get_origin(annotation) in (list, tuple):
        arguments = typing.get_args(annotation)
        kinds = [_described(kind) for kind in arguments]
        return f"list of {kinds[0]}" if len(kinds) == 1 or Ellipsis in arguments else f"[{', '.join(kinds)}]"
    return "null" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))
