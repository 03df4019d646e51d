"""What benchmarks of many trainings share: runs that die with their parent, and results that a kill leaves whole."""

import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path

import torch

from speakerlab.build import build_network, load_checkpoint
from speakerlab.cli.progress import progress_bar
from speakerlab.data.development import read_development_trials
from speakerlab.data.utterances import utterances_in_files
from speakerlab.inference.embedding import NetworkEmbedder
from speakerlab.inference.model import pick_devices
from speakerlab.scoring.cosine import cosine_scores
from speakerlab.scoring.metrics import verification_metrics
from speakerlab.sweeping.processes import die_with_parent
from speakerlab.training.hardware import prepare_cpu

ROOT = Path(__file__).resolve().parent.parent
# Where commands are forked from: what takes a script's first seconds has been imported.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "hydra.main",
        "matplotlib.backends.backend_agg",
        "tensorboard.summary",
        "torch._dynamo",
        "speakerlab.data.corpora.folder",
        "speakerlab.inference.source",
        "speakerlab.reports.training",
        "speakerlab.training.assembly",
    ]
)


def train(arguments: list[str], log: Path) -> tuple[str, float]:
    """Run a command of this project; what went wrong, or "", and the peak of its memory in MB."""
    with open(log, "w+") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / arguments[0]), *arguments[1:]],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,  # else it would slow down the one that goes on after a kill
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        last = (output.read().strip().splitlines() or [""])[-1]
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    fault = f"exit status {process.returncode}: {last}" if process.returncode else ""
    return fault, usage.ru_maxrss * unit / 2**20


def forked(arguments: list[str], log: Path) -> str:
    """Run a command of this project in a process that need not import first, where many are short; what went wrong, or
    "". Its output goes to `log`."""
    process = SERVER.Process(target=_be_script, args=(arguments, log))
    process.start()
    process.join()
    last = (log.read_text().strip().splitlines() or [""])[-1]
    return f"exit status {process.exitcode}: {last}" if process.exitcode else ""


def _be_script(arguments: list[str], log: Path) -> None:
    """In the child."""
    threading.Thread(target=_end_with_benchmark, daemon=True).start()
    multiprocessing.set_start_method(None, force=True)  # loader workers start as they always do
    os.chdir(ROOT)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = [str(ROOT / arguments[0]), *arguments[1:]]
    sys.path.insert(0, str(ROOT))
    runpy.run_path(sys.argv[0], run_name="__main__")


def _end_with_benchmark() -> None:
    """The server that forked this process is its parent, and does not end before this process does."""
    wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def alone(function, *arguments):
    """The function's result from a new process, which may start others, as loaders do."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), die_with_parent) as pool:
        return pool.submit(function, *arguments).result()


def untrained_metrics(run: Path) -> dict[str, float]:
    """Of the weights that the run began with, on its own trials; to be called in a process of its own."""
    prepare_cpu(None)
    config = load_checkpoint(run / "checkpoints" / "best.ckpt")["config"]
    torch.manual_seed(config["seed"])
    network = build_network(config)
    trials, files = read_development_trials(run)
    rate, devices = config["loader"]["sample_rate"], pick_devices("auto", 1)
    embed = NetworkEmbedder(network, "initial weights", rate, devices, 0, None, progress_bar)
    embeddings = embed(utterances_in_files(trials.utterances, files))
    scores = cosine_scores(embeddings, trials.enrol, trials.test)
    return verification_metrics(scores, trials.labels)


def read_results(path: Path, keys: tuple[str, ...]) -> dict[tuple, dict]:
    """The last line about each thing that `keys` tell apart; a line that a kill left half written is none."""
    rows = {}
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[tuple(row[key] for key in keys)] = row
    return rows


def append_result(path: Path, row: dict) -> None:
    """The line is on the disk when this returns."""
    before = path.read_text() if path.is_file() else ""
    torn = before and not before.endswith("\n")
    with open(path, "a") as file:
        file.write(("\n" if torn else "") + json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())
