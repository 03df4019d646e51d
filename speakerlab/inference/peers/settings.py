"""A peer's settings, read as data: what its YAML would build or run stays a name."""

from pathlib import Path
from typing import Any

import yaml

from speakerlab import InputError

LARGEST = 100_000  # bytes; such files have a few thousand, and YAML is slow


class PlainLoader(yaml.SafeLoader):
    """YAML whose tags become data: `!new:a.b.C {x: 1}` is `{"!": "new:a.b.C", "x": 1}`, `!ref <x>` is `"<x>"`."""


def _plain(loader: PlainLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {"!": suffix, **loader.construct_mapping(node, deep=True)}
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node) if suffix == "ref" else {"!": suffix}


PlainLoader.add_multi_constructor("!", _plain)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a file by name; a value `<name>` that refers to another one is that one.

    Raises:
        InputError: if it is no YAML mapping.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: more than {LARGEST:,} bytes are no settings")
        settings = yaml.load(path.read_text(encoding="utf-8"), PlainLoader)
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no YAML that can be read: {str(error).splitlines()[0]}") from error
    if not isinstance(settings, dict):
        raise InputError(f"{path} holds no settings by name")
    return settings


def part(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """The mapping of this name, with what it refers to filled in; an empty one where there is none."""
    found = settings.get(name)
    if not isinstance(found, dict):
        return {}
    return {key: _resolved(settings, value) for key, value in found.items()}


def _resolved(settings: dict[str, Any], value: Any) -> Any:
    if isinstance(value, str) and value.startswith("<") and value.endswith(">"):
        return settings.get(value[1:-1])
    return value


def check_settings(path: Path, name: str, given: dict[str, Any], allowed: dict[str, tuple]) -> None:
    """Refuse a value that this program has no counterpart of.

    Args:
        path: of the settings, for the message.
        name: of the part.
        given: its values.
        allowed: the values of each setting that may be given.

    Raises:
        InputError: naming the first that differs.
    """
    for key, values in allowed.items():
        if key in given and given[key] not in values:
            words = " or ".join(map(str, values))
            raise InputError(
                f"{path}: {name}.{key} is {given[key]}, of which there is no counterpart here, only {words}"
            )
