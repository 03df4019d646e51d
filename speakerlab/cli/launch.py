"""Runs a script under Hydra: late imports, one clear line for the user's mistakes, a traceback only for ours."""

import errno
import functools
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from speakerlab import InputError
from speakerlab.cli.branches import branch_arguments, expand_branches
from speakerlab.cli.explain import SUMMED, explain_composition
from speakerlab.cli.outcome import Outcome, leave_outcome
from speakerlab.schema import SCHEMAS
from speakerlab.shipped import CONF, known_targets

# What is wrong with the user's disk, not with this program, wherever it strikes.
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)
HOOKS = ("speakerlab.cli.multirun.Members",)  # what conf/hydra/ has Hydra itself build; no other config may name it
Task = Callable[[DictConfig], object]


def script(config_name: str) -> Callable[[Task], Callable[[], None]]:
    """Decorator: the task gets the checked config of `conf/<config_name>.yaml`.

    The user's mistakes (`InputError`, and whatever stops Hydra from composing) end as `error: ...` on standard error
    with exit status 1; an interrupt before training ends with 130. What the task returns, or the error, is left for
    whoever started this process to read; see `speakerlab.cli.outcome`. With `-m`, each member runs in a process of its
    own; see `speakerlab.cli.multirun`.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def run() -> None:
            sys.argv[1:] = branch_arguments(sys.argv[1:])
            overrides = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
            try:
                _refuse_merged_members(overrides)
                offer_experiment_file(overrides)
            except InputError as error:
                fail(str(error))
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print and exit by itself
            composed = False
            import hydra

            from speakerlab.cli.multirun import is_multirun, run_member, this_script

            command = this_script([entry.name for entry in fields(SCHEMAS[config_name])])

            def checked(cfg: DictConfig) -> object:
                nonlocal composed
                composed = True
                return run_member(command) if is_multirun() else _attempt(task, cfg, config_name)

            main = hydra.main(
                config_path=str(CONF),
                config_name=config_name,
                execution_whitelist=[*known_targets(), *HOOKS, *trusted_on_command_line()],
            )
            try:
                main(checked)()
            except KeyboardInterrupt:
                sys.stderr.write("\ninterrupted\n")
                sys.exit(130)
            except BrokenPipeError:  # `train.py --help | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            except Exception as error:
                if composed:
                    raise
                fail(explain_composition(error, config_name, overrides))

        return run

    return decorate


def take_others(config_name: str) -> list[str]:
    """Take off the command line what is for another script, since it is no key of this root config; in its order."""
    from dataclasses import fields

    from speakerlab.schema import SCHEMAS

    if any(argument in ("-m", "--multirun") for argument in sys.argv[1:]):
        sys.exit("error: -m is for train.py; this script runs the trials itself")
    own = {entry.name for entry in fields(SCHEMAS[config_name])} | {"hydra"}
    others = [
        argument
        for argument in sys.argv[1:]
        if re.match(r"[^-=]+=|~", argument) and re.split(r"[.=/@]", argument.lstrip("+~"), maxsplit=1)[0] not in own
    ]
    sys.argv = [argument for argument in sys.argv if argument not in others]
    return others


def _refuse_merged_members(overrides: list[str]) -> None:
    """InputError for `loss=[a,b]`: Hydra would merge the two members into one config. Those of `augment/waveform` and
    the like each have a place of their own."""
    for override in overrides:
        group, _, members = override.lstrip("+").partition("=")
        if members.startswith("[") and "/" not in group and (CONF / group).is_dir():
            hint = SUMMED if group == "loss" else ""
            raise InputError(
                f"{group}={members}: give one member of the group, since Hydra merges a list into one{hint}"
            )


def offer_experiment_file(overrides: list[str]) -> None:
    """Let `experiment=` name a file anywhere, such as the `best.yaml` of a sweep, beside those in conf/experiment/.

    Raises:
        InputError: if there is no such file, or it is no config.
    """
    from hydra.core.config_store import ConfigStore

    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        path = value.strip("'\"")
        if key != "experiment" or not path.endswith(".yaml"):
            continue
        if not Path(path).is_file():
            raise InputError(f"{override}: there is no such file")
        try:
            node = OmegaConf.load(path)
        except (OSError, YAMLError) as error:
            raise InputError(f"{override}: is no YAML file that can be read ({first_line(error)})") from error
        group = "/".join(["experiment", *(part for part in path.split("/")[:-1] if part)])
        store = ConfigStore.instance()
        store.store(group=group, name=Path(path).name, node=node, package="_global_", provider=path, replace=True)


def compose(config_name: str, overrides: list[str]) -> tuple[DictConfig, dict[str, str]]:
    """The checked config that a script would get with these arguments, and the chosen member of each group.

    Raises:
        InputError: for whatever stops the script before it begins, in the same words.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict

    from speakerlab.config import check

    overrides = branch_arguments(overrides)
    _refuse_merged_members(overrides)
    offer_experiment_file(overrides)
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(config_dir=str(CONF)):
            cfg = hydra.compose(config_name, overrides, return_hydra_config=True)
    except Exception as error:  # Hydra's and OmegaConf's have no common base
        raise InputError(explain_composition(error, config_name, overrides)) from error
    choices = {str(group): str(choice) for group, choice in cfg.hydra.runtime.choices.items()}
    HydraConfig.instance().set_config(cfg)  # for ${hydra:...}
    try:
        with open_dict(cfg):
            del cfg["hydra"]
        trust = trusted_on_command_line(overrides)
        return check(expand_branches(cfg, trust), config_name, choices, trust), choices
    finally:
        HydraConfig.instance().cfg = None


def trusted_on_command_line(arguments: list[str] | None = None) -> tuple[str, ...]:
    """The targets in `trust=[...]`: only the command line may widen what a config may build, never a config file."""
    for argument in sys.argv[1:] if arguments is None else arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+") == "trust":
            return tuple(name.strip(" '\"") for name in value.strip("[]").split(",") if name.strip())
    return ()


def last_line(error: Exception) -> str:
    """An error's own message: one that crossed from a data worker carries the worker's traceback before it."""
    message = str(error).strip()
    if "Original Traceback" in message:
        message = message.splitlines()[-1].partition(": ")[2]
    return message


def first_line(error: Exception) -> str:
    """The beginning of an error's message, which may be long."""
    return next(iter(last_line(error).splitlines()), "")


def _attempt(task: Task, cfg: DictConfig, config_name: str) -> object:
    """What the task returns, which is left for others too, as is why it failed."""
    try:
        value = _run_task(task, cfg, config_name)
        leave_outcome(Outcome(value))
        return value
    except InputError as error:  # here, because Hydra would announce it in two lines of its own
        fail(last_line(error))
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            leave_outcome(Outcome(error=f"{type(error).__name__}: {first_line(error)}"))
            raise
        fail(f"{error.filename or cfg.get('output_dir')}: {error.strerror}")
    except Exception as error:
        leave_outcome(Outcome(error=f"{type(error).__name__}: {first_line(error)}"))
        raise


def _run_task(task: Task, cfg: DictConfig, config_name: str) -> object:
    from hydra.core.hydra_config import HydraConfig

    from speakerlab.config import check

    quiet_logging()
    choices = {str(group): str(choice) for group, choice in HydraConfig.get().runtime.choices.items()}
    # A sweep gives each of its runs a folder or what to resume from, and perhaps the space that it comes from.
    is_asked = any(override.startswith("sweep=") for override in HydraConfig.get().overrides.task)
    is_one_run = cfg.get("folder") is not None or cfg.get("ckpt") is not None
    if is_asked and choices["sweep"] != "None" and not is_one_run:
        raise InputError(
            f"sweep={choices['sweep']} is a space to search, not one run: python sweep.py sweep={choices['sweep']}, or "
            f"python {Path(sys.argv[0]).name} -m sweep={choices['sweep']} hydra/sweeper=optuna"
        )
    trust = trusted_on_command_line()
    return task(check(expand_branches(cfg, trust), config_name, choices, trust))


def quiet_logging() -> None:
    """One plain line a message on the console; libraries speak up only when something is wrong."""
    console = _Console()
    console.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("speakerlab")
    logger.handlers = [console]
    console.setLevel(logging.INFO)
    logger.setLevel(logging.DEBUG)  # what is finer goes to the run's own log file alone
    logger.propagate = False
    # Lightning's own deprecated calls and its advice on a loader that this program has measured.
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")


class _Console(logging.Handler):
    """Prints to whatever standard output is at the time: a live progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


def fail(message: str) -> NoReturn:
    """End as the user's mistakes do."""
    leave_outcome(Outcome(error=message))
    sys.stderr.write(f"error: {message}\n")
    sys.exit(1)
