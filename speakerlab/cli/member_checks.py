"""The members of a multirun, composed and checked before the first of them begins."""

from collections.abc import Iterator, Sequence

from omegaconf import DictConfig, open_dict

from speakerlab import InputError
from speakerlab.config import check
from speakerlab.shipped import CONF

OPTUNA = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def is_optuna(config: DictConfig) -> bool:
    """Whether the members are trials that Optuna's sampler chooses."""
    return config.hydra.sweeper._target_ == OPTUNA


def swept_keys(config: DictConfig) -> list[str]:
    """What the members differ in."""
    return [override.get_key_element().lstrip("+") for override in _parsed(config) if override.is_sweep_override()]


def check_members(config: DictConfig, config_name: str, trust: tuple[str, ...]) -> None:
    """Compose and check every member of a grid; of a study, which draws its members later, every value that it lists
    and both ends of every range.

    Args:
        config: of the sweep, as Hydra composed it.
        config_name: "train" or "evaluate".
        trust: further targets that the user's command line admits.

    Raises:
        InputError: naming the first member that can't run.
    """
    if not swept_keys(config):
        raise InputError("-m: nothing varies; give several values such as loss.margin=0.1,0.2, or a space with sweep=")
    if "sweep" in swept_keys(config):
        raise InputError("-m sweep=: a study has one space; what several vary can stand in one file of conf/sweep/")
    if config.hydra.sweeper._target_ == BASIC:
        for overrides in _grid(config):
            _check_member(config, config_name, overrides, trust, as_built=True)
    elif is_optuna(config):
        _check_study(config, config_name)
        for overrides, as_built in _corners(config):
            _check_member(config, config_name, overrides, trust, as_built)


def _parsed(config: DictConfig) -> list:
    """The overrides that the sweeper gets: the space's, then the command line's, which win."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())  # which glob(*) asks
    given = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    parsed = parser.parse_overrides([*given, *config.hydra.overrides.task])
    return list({override.get_key_element(): override for override in parsed}.values())


def _grid(config: DictConfig) -> list[list[str]]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    overrides = _parsed(config)
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise InputError(
                f"{override.input_line} is a range to draw from: add hydra/sweeper=optuna, or use sweep.py"
            )
        if override.is_sweep_override() and not _listed(override):
            raise InputError(f"{override.input_line} stands for no value")
    return [member for batch in BasicSweeper.split_arguments(overrides, None) for member in batch]


def _corners(config: DictConfig) -> Iterator[tuple[list[str], bool]]:
    """Members of a study: the first value of everything, then each other value alone; and whether the network and the
    like are tried too. They are not for another member of a group, which may go with other values only."""
    overrides = _parsed(config)
    fixed = [override.input_line for override in overrides if not override.is_sweep_override()]
    values = {override.get_key_element(): _listed(override) for override in overrides if override.is_sweep_override()}
    first = {key: listed[0] for key, listed in values.items()}
    yield [*fixed, *_written(first)], True
    for key, listed in values.items():
        is_group = (CONF / key.lstrip("+").split("@")[0]).is_dir()
        for value in listed[1:]:
            yield [*fixed, *_written(first | {key: value})], not is_group


def _written(values: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]


def _listed(override) -> list[str]:
    """A parameter's values; of numbers in a range, its ends."""
    if override.is_interval_sweep():
        from speakerlab.sweeping.space import distribution_of

        distribution_of(override)  # refuses one that ends before it begins
        interval = override.value()
        return [str(interval.start), str(interval.end)]
    try:
        values = list(override.sweep_string_iterator())
    except Exception as error:  # Hydra's own kinds
        raise InputError(f"{override.input_line}: {str(error).splitlines()[0]}") from error
    return values[:: max(len(values) - 1, 1)] if override.is_range_sweep() else values


def _check_study(config: DictConfig, config_name: str) -> None:
    """A trial at least; as many directions as objectives, and the right ones."""
    if config.hydra.sweeper.n_trials < 1:
        raise InputError(f"hydra.sweeper.n_trials={config.hydra.sweeper.n_trials} must be at least 1")
    if config_name != "train":
        return
    from speakerlab.cli.objective import check_directions, objectives

    directions = config.hydra.sweeper.direction
    given = [directions] if isinstance(directions, str) else list(directions)
    check_directions(objectives(config), given)


def _check_member(
    config: DictConfig, config_name: str, overrides: Sequence[str], trust: tuple[str, ...], as_built: bool
) -> None:
    """InputError if this member would stop before it trains."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    from speakerlab.cli.branches import expand_branches
    from speakerlab.cli.explain import explain_composition

    varied = swept_keys(config)
    shown = " ".join(value for value in overrides if value.lstrip("+").partition("=")[0] in varied)
    before = HydraConfig.instance().cfg
    try:
        member = GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))
    except Exception as error:  # Hydra's and OmegaConf's have no common base
        raise InputError(f"{explain_composition(error, config_name, list(overrides))} (member: {shown})") from error
    try:
        HydraConfig.instance().set_config(member)
        choices = {str(group): str(choice) for group, choice in member.hydra.runtime.choices.items()}
        with open_dict(member):
            del member["hydra"]
        checked = check(expand_branches(member, trust), config_name, choices, trust)
        if config_name == "train":
            _try(checked, trust, as_built)
    except InputError as error:
        raise InputError(f"{error} (member: {shown})") from error
    finally:
        HydraConfig.instance().cfg = before


def _try(cfg: DictConfig, trust: tuple[str, ...], as_built: bool) -> None:
    from speakerlab.cli.objective import objectives

    objectives(cfg)
    if as_built:
        from speakerlab.training.assembly import try_components

        try_components(cfg, trust)
