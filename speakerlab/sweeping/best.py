"""`best.yaml`: what the best trial was given, as an experiment on top of the default configuration.

python train.py experiment=outputs/sweeps/margin/best.yaml
"""

from pathlib import Path
from typing import Any, NamedTuple

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from omegaconf import DictConfig, OmegaConf

from speakerlab.data.manifest import replacing
from speakerlab.shipped import CONF
from speakerlab.sweeping.results import command_of, objectives_of, pick_trial

BEST = "best.yaml"
# What says where a run lies or how it is carried out, not what it is.
NOT_KEPT = ("name", "folder", "ckpt", "output_dir", "objective", "threads", "trust", "cache_dir")


def write_best(study: optuna.Study, folder: Path, number: int | None = None) -> Path:
    """Write `best.yaml` into a study's folder and return its path.

    Args:
        study: with a complete trial.
        folder: of the study.
        number: of the trial; None is the best, of several objectives the best of the first.

    Raises:
        InputError: if there is no such trial.
    """
    trial = pick_trial(study, number)
    words = command_of(trial, folder)
    given = words if words is not None else [f"{key}={value}" for key, value in trial.params.items()]
    config, dropped = as_experiment([word for word in given if not word.startswith("-")])
    config = OmegaConf.merge({"defaults": config.pop("defaults", [])}, {"name": f"{study.study_name}_best"}, config)
    if not config.defaults:
        del config["defaults"]
    values = ", ".join(f"{name} {value:.6g}" for name, value in zip(objectives_of(study), trial.values, strict=True))
    lines = [
        "# @package _global_",
        f"# Trial {trial.number} of the study {study.study_name}: {values}",
        f"#   python train.py experiment={folder / BEST}",
    ]
    if words is None:
        lines.append("# Its run is not on this machine: only what the study varied is here, not what its command gave.")
    if dropped:
        lines.append(f"# The trial was given besides: {' '.join(dropped)}")
    with replacing(folder / BEST) as draft:
        draft.write_text("\n".join(lines) + "\n" + OmegaConf.to_yaml(config), encoding="utf-8")
    return folder / BEST


def as_experiment(words: list[str]) -> tuple[DictConfig, list[str]]:
    """An experiment that does what these overrides do; and those that no experiment can, deletions.

    Args:
        words: of the command line; later ones win.
    """
    overlays: list[str] = []
    added: list[Any] = []
    chosen: dict[str, Any] = {}
    values, dropped = OmegaConf.create(), []
    space, experiment = _Parts.none(), _Parts.none()
    parser = OverridesParser.create()
    for word in words:
        override = parser.parse_override(word)
        key = override.get_key_element().lstrip("+~")
        if key in NOT_KEPT or key.startswith(("hydra.", "hydra/", "sweep.")):  # the last: what a search is told
            continue
        if override.is_delete() and key == "model.branches":  # others take the place of the shipped ones
            shipped = OmegaConf.load(CONF / "model" / "fusion.yaml").branches
            OmegaConf.update(values, key, dict.fromkeys(map(str, shipped)), force_add=True)
        elif override.is_delete():
            dropped.append(word)
        elif key == "experiment" and Path(member := str(_plain(override.value()))).is_file():
            experiment = _parts(Path(member))
        elif key in ("experiment", "debug"):  # as it is, since its group comes after this experiment's values
            overlays.append(f"/{key}/{_plain(override.value())}")
        elif key == "sweep":
            space = _parts(CONF / "sweep" / f"{_plain(override.value())}.yaml")
        elif (CONF / key.split("@")[0]).is_dir():
            _choose(override, key, added, chosen)
        else:
            OmegaConf.update(values, key, _plain(override.value()), force_add=True)
    chosen = space.chosen | experiment.chosen | chosen
    overriding = [{f"override /{key}": member} for key, member in chosen.items()]
    overlays.sort(key=lambda name: name.startswith("/debug"))  # after experiment
    added = [*space.added, *experiment.added, *overlays, *added]
    head = OmegaConf.create({"defaults": [*added, "_self_", *overriding]} if added else {"defaults": overriding})
    return OmegaConf.merge(head, space.values, experiment.values, values), dropped


def _choose(override: Override, key: str, added: list[Any], chosen: dict[str, Any]) -> None:
    member = _plain(override.value())
    if override.is_add():
        added.append({f"/{key}": member})
    else:
        chosen[key] = member


class _Parts(NamedTuple):
    """Of a file that a run was given: its values, what its defaults add, and the members that they choose instead."""

    values: DictConfig
    added: list[Any]
    chosen: dict[str, Any]

    @classmethod
    def none(cls) -> "_Parts":
        return cls(OmegaConf.create(), [], {})


def _parts(path: Path) -> _Parts:
    """What a space gives every trial, or an experiment in a file that may be gone when it is wanted again."""
    found = _Parts(OmegaConf.load(path), [], {}) if path.is_file() else _Parts.none()
    for entry in OmegaConf.to_container(found.values.pop("defaults", OmegaConf.create([]))):
        if isinstance(entry, str):
            found.added.extend([entry] if entry != "_self_" else [])
            continue
        for key, member in entry.items():
            if key.startswith("override "):
                found.chosen[key.removeprefix("override ").strip().lstrip("/")] = member
            else:
                found.added.append({key: member})
    for key in ("hydra", "sweep", *NOT_KEPT):
        found.values.pop(key, None)
    return found


def _plain(value: Any) -> Any:
    """A value of Hydra's grammar as YAML has it."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(child) for key, child in value.items()}
    return [_plain(child) for child in value] if isinstance(value, list) else value
