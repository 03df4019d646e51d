"""The configs that come with the program, by their text alone: a command's `--help` need not import OmegaConf."""

import difflib
import re
from functools import cache
from pathlib import Path

import speakerlab

# Beside the package in a checkout, inside it in a wheel.
CONF = next(
    folder
    for folder in (Path(speakerlab.__file__).parent / "conf", Path(speakerlab.__file__).parent.parent / "conf")
    if folder.is_dir()
)


@cache
def known_targets(group: str = "") -> tuple[str, ...]:
    """Every `_target_` that the shipped `conf/`, or a group of it, names: exact names, which is all that a config may
    build. What Hydra itself builds, named in `conf/hydra/`, is none of them.

    A wildcard would let a config reach whatever a module imports (`torch.load` under `speakerlab.*`, for one).
    """
    pattern = re.compile(r"^\s*_target_:\s*([\w.]+)\s*$", re.MULTILINE)
    files = [path for path in (CONF / group).rglob("*.yaml") if CONF / "hydra" not in path.parents]
    return tuple(sorted({target for path in files for target in pattern.findall(path.read_text("utf-8"))}))


def nearest(name: str, known: list[str], cutoff: float = 0.5) -> str:
    """`; did you mean X?`, or nothing where no known name is close."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"; did you mean {matches[0]}?" if matches else ""
