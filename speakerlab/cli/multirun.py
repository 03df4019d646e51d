"""Hydra's multirun, `-m`: its members are checked before the first begins, and each runs as a process of its own.

A member's process is the same command with the member's own values, so that it ends as a run that was started alone,
its GPUs' memory is given back, and neither a crash nor processes of DDP that it starts touch the others.

    <output_dir>/sweeps/<study>/<date_time>/
      sweep.json     the command, and what its members differ in
      0/ 1/ ...      a run's folder each, with overrides.json and outcome.json
      members.csv    what each came to
      study.db       of hydra/sweeper=optuna, with best.yaml, report.html and tensorboard/
"""

import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

import speakerlab
from speakerlab import InputError
from speakerlab.cli.member_checks import check_members, is_optuna, swept_keys
from speakerlab.cli.members import OVERRIDES, key_of, read_sweep, short, summarise, write_sweep
from speakerlab.cli.outcome import FILE, VARIABLE, Outcome, read_outcome, write_outcome
from speakerlab.sweeping.processes import die_with_parent

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Script:
    """How the command was started, for members that do not run in its process.

    Attributes:
        path: of the script.
        options: of Hydra that say where configs lie, such as `--config-dir X`.
        keys: of its root config.
    """

    path: str
    options: tuple[str, ...]
    keys: tuple[str, ...]


def this_script(keys: Sequence[str]) -> Script:
    """Of the command line of this process."""
    options: list[str] = []
    words = iter(sys.argv[1:])
    for word in words:
        if word in ("--config-dir", "-cd"):
            options += ["--config-dir", os.path.abspath(next(words, ""))]
        elif word.startswith("--config-dir="):
            options += ["--config-dir", os.path.abspath(word.partition("=")[2])]
    return Script(os.path.abspath(sys.argv[0]), tuple(options), tuple(keys))


def is_multirun() -> bool:
    """Whether Hydra is about to run one of several members."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.get().mode == RunMode.MULTIRUN


def run_member(script: Script) -> float | list[float] | None:
    """Run the member that Hydra has composed, in a process and a folder of its own; what it returned. None if it has
    failed: its outcome says why, while an error would be announced by Hydra at a length.

    Raises:
        SystemExit: if a signal has stopped it and this process.
    """
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    folder, number = Path(hydra.runtime.output_dir), hydra.job.num
    own = list(hydra.overrides.task)
    path = folder / FILE
    path.unlink(missing_ok=True)
    (folder / OVERRIDES).write_text(json.dumps(own) + "\n", encoding="utf-8")
    varied = read_sweep(folder.parent)["varied"]
    shown = [value for value in own if key_of(value) in varied]
    print(f"\n#{number}  {shlex.join(shown)}\n    {short(folder)}", flush=True)
    where = [f"hydra.job.num={number}", f"hydra.job.id='{number}'"]
    if "folder" in script.keys:
        goes_on = (folder / "checkpoints" / "last.ckpt").is_file()  # a job that a cluster began anew
        where.append(f"{'ckpt' if goes_on else 'folder'}={_quoted(folder)}")
    searched = [value for value in hydra.overrides.hydra if value.lstrip("+").startswith("hydra.searchpath=")]
    command = [sys.executable, script.path, *script.options, *own, *searched, *where]
    status = _finished(command, os.environ | {VARIABLE: str(path)})
    outcome = read_outcome(path)
    if status == 0 and outcome is not None and outcome.error is None:
        return outcome.value
    error = outcome.error if outcome is not None and outcome.error else _ending(status)
    write_outcome(path, Outcome(error=error))
    return None


def _finished(command: Sequence[str], environment: dict[str, str]) -> int:
    """The exit status of a process that is told of every signal once, since a second one would stop it at once: a group
    of its own keeps the terminal's Ctrl-C away from it."""
    received: list[int] = []
    early: list[int] = []  # those that came before there was somebody to tell
    process: subprocess.Popen | None = None

    def pass_on(number: int, frame: Any) -> None:
        received.append(number)
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN:  # as nohup wants it
                signal.signal(number, pass_on)
        orphaned = partial(die_with_parent, os.getpid())  # it must not train on when this process is killed
        process = subprocess.Popen(command, env=environment, process_group=0, preexec_fn=orphaned)
        for number in early:
            process.send_signal(number)
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        sys.exit(128 + received[0])
    return status


def _ending(status: int) -> str:
    if status - 128 in SIGNALS:
        return "was stopped, and is kept"
    if status < 0:
        name = signal.Signals(-status).name
        return f"killed by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")
    return f"ended with exit status {status}"


def _quoted(value: Path | str) -> str:
    """As Hydra's command line takes it, whatever is in it."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(str(value), Quote.single).with_quotes()


class Members(Callback):
    """Hydra's hook around a multirun: checks, a folder for the sweep, and a summary. In single runs it does nothing."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.optuna = False

    def on_multirun_start(self, config: DictConfig, config_name: str) -> None:
        """Refuse, in a line, what can't run to its end; else make the sweep's folder."""
        from speakerlab.cli.launch import fail, trusted_on_command_line

        try:
            self.optuna = is_optuna(config)
            check_members(config, config_name, trusted_on_command_line())
            self.folder = claim_folder(Path(config.hydra.sweep.dir), study_name(config))
            _settle(config, self.folder, self.optuna)
            write_sweep(config, config_name, self.folder)
        except InputError as error:
            fail(str(error))
        except OSError as error:
            fail(f"hydra.sweep.dir: {error.filename}: {error.strerror}")
        except Exception:  # Hydra would make a warning of it and go on
            traceback.print_exc()
            sys.exit(1)

    def on_multirun_end(self, config: DictConfig, config_name: str) -> None:
        """Say what came of it, and end with status 1 if members of a grid, or all trials of a study, have failed."""
        from speakerlab.cli.launch import fail

        if self.folder is None:
            return
        ending = sys.exc_info()[1]
        rows = summarise(self.folder)
        if self.optuna and (self.folder / "study.db").is_file():
            from speakerlab.cli.sweep import conclude_multirun

            conclude_multirun(self.folder)
        if ending is not None and not isinstance(ending, Exception):
            return  # a signal, whose status it is to be
        failed = [row for row in rows if row["error"]]
        if failed and (not self.optuna or len(failed) == len(rows)):
            fail(f"{len(failed)} of {len(rows)} members failed; {short(self.folder / 'members.csv')} says why")


def study_name(config: DictConfig) -> str:
    """What a sweep is called: by its study's name, `name=`, its space, or the keys that it varies."""
    task = list(config.hydra.overrides.task)
    names = [value.partition("=")[2] for value in task if value.startswith("name=")]
    name = (
        config.hydra.sweeper.get("study_name")
        or next(iter(names), None)
        or config.hydra.runtime.choices.get("sweep")
        or "_".join(swept_keys(config))
    )
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "multirun"


def claim_folder(base: Path, study: str) -> Path:
    """A new folder `<base>/<study>/<date_time>`, however many sweeps begin in one second."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    (base / study).mkdir(parents=True, exist_ok=True)
    for attempt in range(1, 1000):
        folder = base / study / (stamp if attempt == 1 else f"{stamp}_{attempt:03d}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise InputError(f"can't make a new folder in {base / study}")


def _settle(config: DictConfig, folder: Path, optuna: bool) -> None:
    """Fix the sweep's folder and its study, in this config and in those of the members, which are composed anew from
    its overrides."""
    from hydra.core.hydra_config import HydraConfig

    settled: dict[str, object] = {"hydra.sweep.dir": str(folder)}
    given = [key_of(value) for value in config.hydra.overrides.hydra]
    if optuna and "hydra.sweeper.study_name" not in given:
        settled["hydra.sweeper.study_name"] = folder.parent.name
    trials = OmegaConf.select(config, "sweep.n_trials")
    if optuna and trials is not None and "hydra.sweeper.n_trials" not in given:
        settled["hydra.sweeper.n_trials"] = trials
    with read_write(config.hydra), open_dict(config.hydra):
        for key, value in settled.items():
            OmegaConf.update(config, key, value)
            written = _quoted(value) if isinstance(value, str) else value
            config.hydra.overrides.hydra.append(f"{key}={written}")
    HydraConfig.instance().set_config(config)
    # Jobs of a cluster are to import this copy of the program, wherever they start.
    path = [str(Path(speakerlab.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
    if optuna:  # what they would tell, the members and the summary tell
        from optuna.logging import ERROR, set_verbosity

        set_verbosity(ERROR)
        logging.getLogger("hydra_plugins").setLevel(logging.CRITICAL)
