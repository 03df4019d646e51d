"""One line for what stops Hydra from composing a config: the key, the file and the nearest right name."""

import re

from omegaconf import DictConfig, OmegaConf

from speakerlab.shipped import CONF, nearest

SUMMED = "; several losses are summed by loss=weighted_sum with named children"
HOLDERS = 6  # that a hint names, or counts


def explain_composition(error: Exception, config_name: str, overrides: list[str]) -> str:
    """One line for an error that Hydra raised while composing: the key, the file and the nearest right name."""
    text = str(error)
    if "hydra/launcher/submitit" in text:
        return "hydra/launcher=slurm and local need hydra-submitit-launcher: pip install 'speakerlab[slurm]'"
    groups = _groups(config_name)
    for override in overrides:
        key, separator, value = override.lstrip("+~").partition("=")
        group = key.split("@")[0]
        if not (separator and group.split("/")[0] in groups and (CONF / group).is_dir()):
            continue
        members = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        if value in ("null", "") and "NoneType" in text:
            return f"{override}: this group needs a member (there are: {', '.join(members)})"
        for member in value.strip("[]").split(","):  # several in a multirun, or of a group whose members add up
            if member not in (*members, "null", "") and "/" not in member:
                hint = nearest(member, members)
                return f"{key}={member}: there is no conf/{group}/{member}.yaml{hint} (there are: {', '.join(members)})"
    own = re.search(r"Could not find '(hydra/[\w/]+)/([\w-]+)'\s+Available options in '[^']+':\n((?:\t\w+\n)+)", text)
    if own is not None:
        members = own[3].split()
        return f"{own[1]}={own[2]}: there is none{nearest(own[2], members)} (there are: {', '.join(members)})"
    absent = re.search(r"To append to your default list use \+([\w/]+)=", text)
    if absent is not None and absent[1].split("/")[0] in groups and (CONF / absent[1]).is_dir():
        return f"{absent[1]}= adds to the config: write +{absent[1]}=..."
    unknown = re.search(r"(?:Could not override|delete from config\.) '([^']+)'", text)
    if unknown is None:
        keys = [override.lstrip("~").partition("=")[0] for override in overrides if not override.startswith("+")]
        unknown = next((found for key in keys if (found := re.search(f"'({re.escape(key)})'", text))), None)
    if unknown is not None and "@" in unknown[1]:
        return f"{unknown[1]}= adds to the config: write +{unknown[1]}=..."
    if unknown is not None:
        hint = _holders(unknown[1], groups) or _nearest_key(unknown[1], config_name, overrides)
        return f"unknown key {unknown[1]!r} {_place(unknown[1], overrides)}{hint}"
    several = re.match(r"Ambiguous value for argument '(([^=]+)=(.*))'", text)
    if several is not None:
        override, key, values = several.groups()
        right = "give one" if (CONF / key).is_dir() else f"a list is written {key}=[{values}]"
        return f"{override}: several values are for -m, a run each; {right}{SUMMED if key == 'loss' else ''}"
    twice = re.match(r"Multiple values for ([\w/]+)\.", text)
    if twice is not None and f"+{twice[1]}" in [override.partition("=")[0] for override in overrides]:
        right = f"write {twice[1]}=..., without the +" if twice[1] in groups else f"write +{twice[1]}=[a,b] for several"
        return f"+{twice[1]}=: there is one already; {right}"
    merging = re.match(r"Error merging override (.+)", text)
    if merging is not None and error.__cause__ is not None:
        return f"{merging[1]} does not fit what the config has there: {str(error.__cause__).splitlines()[0]}"
    if type(error).__name__ == "OverrideParseException":
        hint = "arguments are key=value; a value with brackets, commas, = or spaces needs quotes: \"key='a (b)'\""
        return f"{text.strip().splitlines()[0]}; {hint}"
    return text.strip().splitlines()[0]


def _place(key: str, overrides: list[str]) -> str:
    """Where a key was written: in the space of a sweep, or on the command line."""
    for override in overrides:
        group, _, member = override.partition("=")
        file = CONF / "sweep" / f"{member}.yaml"
        if group == "sweep" and file.is_file():
            params = OmegaConf.select(OmegaConf.load(file), "hydra.sweeper.params") or {}
            if key in [str(name).lstrip("+~") for name in params]:
                return f"in conf/sweep/{member}.yaml"
    return "on the command line"


def _groups(config_name: str) -> list[str]:
    """The config groups that a root chooses members of; `experiment` among them."""
    entries = OmegaConf.load(CONF / f"{config_name}.yaml").defaults
    names = [str(name) for entry in entries if isinstance(entry, DictConfig) for name in entry]
    return [name for name in names if not name.startswith("override ")]


def _holders(key: str, groups: list[str]) -> str:
    """`; data=folder has it` for a key of other members of its group than the chosen one."""
    group, _, inner = key.partition(".")
    members = sorted((CONF / group).glob("*.yaml")) if inner and group in groups else []
    found = [f"{group}={path.stem}" for path in members if inner in _dotted(OmegaConf.load(path))]
    if len(found) > HOLDERS:
        found = [*found[: HOLDERS - 1], f"{len(found) - HOLDERS + 1} others"]
    *firsts, last = found or [""]
    return f"; it is a key of {', '.join(firsts)}{' and ' if firsts else ''}{last}" if found else ""


def _nearest_key(key: str, config_name: str, overrides: list[str]) -> str:
    """The nearest known key; one with the same last part (`lr` for `optimizer.lr`) counts as near."""
    groups = _groups(config_name)
    chosen = [override for override in overrides if override.lstrip("+").partition("=")[0].split("/")[0] in groups]
    known = _all_keys(config_name, chosen) + groups
    same_end = [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
    return nearest(key, same_end, cutoff=0.0) or nearest(key, known)


def _all_keys(config_name: str, choices: list[str]) -> list[str]:
    """Dotted keys of the composition with these members of groups."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(CONF)):
        cfg = compose(config_name, choices)

    return _dotted(cfg)


def _dotted(node: DictConfig, prefix: str = "") -> list[str]:
    """The keys of a config and of those in it, as `outer.inner`."""
    names = [f"{prefix}{name}" for name in node]
    inner = [node._get_node(name) for name in node]
    return names + [
        key
        for name, child in zip(names, inner, strict=True)
        if isinstance(child, DictConfig) and not child._is_none()
        for key in _dotted(child, name + ".")
    ]
