"""Scripts as processes of their own, with or without the seconds of importing torch and Lightning each time."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["torch", "torchaudio", "pytorch_lightning", "torch._dynamo", "hydra", "tensorboard"])


@dataclass(frozen=True)
class Finished:
    """What a script left behind."""

    rc: int
    stdout: str
    stderr: str


def clean_environment() -> dict[str, str]:
    """This process's variables but for what would tell a script about another run; one thread, so that runs compare."""
    own = {name: value for name, value in os.environ.items() if name != "SPEAKERLAB_RUN_FOLDER"}
    return own | {"OMP_NUM_THREADS": "1"}


def run_new(script: str, *arguments: str, cwd: Path, timeout: float = 300.0) -> Finished:
    """`python SCRIPT ARGUMENTS` in the folder `cwd`, as a user starts it."""
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


class Forked:
    """The same in a process forked from one that has imported the heavy libraries: a real process, which can be killed,
    within milliseconds.

    Args:
        script: such as `train.py`.
        arguments: of its command line.
        cwd: where it runs; its output goes to the files `stdout` and `stderr` there.
    """

    def __init__(self, script: str, *arguments: str, cwd: Path):
        self.cwd = cwd
        cwd.mkdir(parents=True, exist_ok=True)
        argv = [str(ROOT / script), *arguments]
        self.process: BaseProcess = SERVER.Process(target=_be_script, args=(argv, str(cwd), clean_environment()))
        self.process.start()

    @property
    def is_running(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.join()

    def wait(self, timeout: float = 300.0) -> Finished:
        self.process.join(timeout)
        if self.process.is_alive():
            self.kill()
            raise TimeoutError(f"still running after {timeout} s: {(self.cwd / 'stdout').read_text()[-2000:]}")
        return Finished(self.process.exitcode, (self.cwd / "stdout").read_text(), (self.cwd / "stderr").read_text())


def run_forked(script: str, *arguments: str, cwd: Path) -> Finished:
    """`Forked`, to its end."""
    return Forked(script, *arguments, cwd=cwd).wait()


def _be_script(argv: list[str], cwd: str, environment: dict[str, str]) -> None:
    """In the child: become `python ARGV` with its output in files."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    sys.argv = argv
    sys.path.insert(0, str(ROOT))
    runpy.run_path(argv[0], run_name="__main__")
