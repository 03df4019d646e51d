"""Scripts as processes of their own, with or without the seconds of importing torch and Lightning each time."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "hydra.main",
        "matplotlib.backends.backend_agg",
        "tensorboard.summary",
        "torch._dynamo",
        "speakerlab.data.corpora.folder",
        "speakerlab.inference.model",
        "speakerlab.reports.training",
        "speakerlab.training.system",
    ]
)


@dataclass(frozen=True)
class Finished:
    """What a script left behind."""

    rc: int
    stdout: str
    stderr: str


def clean_environment() -> dict[str, str]:
    """This process's variables but for what would tell a script about another run, or keep Python from remembering
    compiled sources, which costs a start 20 s; one thread, so that runs compare."""
    unwanted = ("SPEAKERLAB_RUN", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | {
        "OMP_NUM_THREADS": "1"
    }


def run_new(script: str, *arguments: str, cwd: Path, options: tuple[str, ...] = ()) -> Finished:
    """`python OPTIONS SCRIPT ARGUMENTS` in the folder `cwd`, as a user starts it."""
    done = subprocess.run(
        [sys.executable, *options, str(ROOT / script), *arguments],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300.0,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def run_forked(
    script: str,
    *arguments: str,
    cwd: Path,
    kill: tuple[str, int] | None = None,
    unlink: tuple[str, int, Path] | None = None,
) -> Finished:
    """The same in a process forked from one that has imported the heavy libraries: a real process within milliseconds.

    Args:
        script: such as `train.py`.
        arguments: of its command line.
        cwd: where it runs; its output goes to the files `stdout` and `stderr` there.
        kill: a file's name and a number: SIGKILL when a file of this name is about to be put in its place, by a rename,
            for that many times.
        unlink: the same, and a path that is removed then.
    """
    cwd.mkdir(parents=True, exist_ok=True)
    argv = [str(ROOT / script), *arguments]
    process = SERVER.Process(target=_be_script, args=(argv, str(cwd), clean_environment(), kill, unlink))
    process.start()
    process.join(300.0)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{argv} still runs: {(cwd / 'stdout').read_text()[-2000:]}")
    return Finished(process.exitcode, (cwd / "stdout").read_text(), (cwd / "stderr").read_text())


def _be_script(
    argv: list[str],
    cwd: str,
    environment: dict[str, str],
    kill: tuple[str, int] | None,
    unlink: tuple[str, int, Path] | None,
) -> None:
    """In the child: become `python ARGV` with its output in files."""
    multiprocessing.set_start_method(None, force=True)  # loader workers start as they always do
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    if kill is not None:
        sys.addaudithook(_at_rename(*kill, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    if unlink is not None:
        name, count, path = unlink
        sys.addaudithook(_at_rename(name, count, path.unlink))
    sys.argv = argv
    sys.path.insert(0, str(ROOT))
    runpy.run_path(argv[0], run_name="__main__")


def _at_rename(name: str, count: int, strike: Callable[[], None]) -> Callable[[str, tuple], None]:
    """An audit hook that strikes at one exact moment, where another process would have to race."""
    seen = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event == "os.rename" and os.path.basename(arguments[1]) == name:  # what os.replace reports
            seen += 1
            if seen == count:
                strike()

    return watch
