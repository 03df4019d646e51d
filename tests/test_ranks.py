"""What torchrun, srun and Lightning say of a process, and networks that several train, on one machine and on two."""

import csv
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import ROOT, clean_environment

from speakerlab.ranks import rank, started

TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}
SRUN = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8", "SLURM_JOB_NAME": "train"}
LIGHTNING = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    "variables, number, together",
    [
        ({}, 0, 1),
        (TORCHRUN, 3, 4),
        (SRUN, 5, 8),
        (TORCHRUN | SRUN, 3, 4),  # torchrun started by srun, once a machine
        (LIGHTNING, 1, 1),  # the first process chose the folder, and started this one
        (LIGHTNING | SRUN | {"SLURM_JOB_NAME": "interactive"}, 1, 1),
        (SRUN | {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, 0, 1),
    ],
)
def test_ranks(monkeypatch, variables, number, together):
    for name in TORCHRUN | SRUN | LIGHTNING:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (rank(), started()) == (number, together)


def on_machines(commands: list[tuple[list[str], dict[str, str]]], cwd: Path) -> None:
    """Start every command at once, as the machines of a cluster do, and see all of them end well."""
    running = []
    for number, (command, variables) in enumerate(commands):
        with open(cwd / f"said_{number}", "w") as said:
            environment = clean_environment() | variables
            running.append(subprocess.Popen(command, cwd=cwd, env=environment, stdout=said, stderr=said))
    for number, process in enumerate(running):
        assert process.wait(timeout=300) == 0, (cwd / f"said_{number}").read_text()


def free_port() -> str:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return str(place.getsockname()[1])


def by_torchrun(script: list[str], cwd: Path, devices: int) -> None:
    """Two machines, for this one's address."""
    port = free_port()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--nproc-per-node={devices}"]
    launcher += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    on_machines([([*launcher, f"--node-rank={node}", *script], {}) for node in range(2)], cwd)


def by_srun(script: list[str], cwd: Path, devices: int) -> None:
    """What SLURM tells each task, without SLURM."""
    port, commands = free_port(), []
    for task in range(2 * devices):
        variables = {"SLURM_PROCID": task, "SLURM_LOCALID": task % devices, "SLURM_NODEID": task // devices}
        variables |= {"SLURM_NTASKS": 2 * devices, "SLURM_NTASKS_PER_NODE": devices, "SLURM_NNODES": 2}
        variables |= {"SLURM_JOB_NAME": "train", "SLURM_JOB_ID": 1, "SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": port}
        commands.append(([sys.executable, *script], {name: str(value) for name, value in variables.items()}))
    on_machines(commands, cwd)


@pytest.fixture(scope="module")
def training(folders, tiny) -> list[str]:
    """Three epochs whose losses do not depend on how many share a batch: what is normed over it is frozen."""
    tiny = [word for word in tiny if not word.startswith(("sampler.", "trainer="))]
    fixed = ["fine_tuning.freeze_batch_norms=true", "fine_tuning.freeze=[network.encoder.embedding_norm]"]
    fixed += ["trainer.precision=32-true", "trainer.max_epochs=3", "name=tiny"]
    return [str(ROOT / "train.py"), *folders.overrides(), *tiny, *fixed, "sampler.batch_size=8"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, training) -> np.ndarray:
    cwd = tmp_path_factory.mktemp("alone")
    on_machines([([sys.executable, *training, "trainer=cpu", "folder=run"], {})], cwd)
    return losses(cwd / "run")


def losses(run: Path) -> np.ndarray:
    """Of each epoch."""
    with open(run / "metrics" / "train_metrics.csv", newline="") as file:
        return np.array([float(row["loss"]) for row in csv.DictReader(file)])


@pytest.mark.slow
@pytest.mark.parametrize("start, devices", [(by_torchrun, 1), (by_srun, 1), (by_torchrun, 2), (None, 2)])
def test_a_network_is_the_same_however_many_train_it(tmp_path, training, alone, start, devices):
    nodes = 1 if start is None else 2
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={devices}", f"trainer.num_nodes={nodes}"]
    script = [*training, *ddp, "folder=run"]
    if start is None:
        on_machines([([sys.executable, *script], {})], tmp_path)
    else:
        start(script, tmp_path, devices)
    assert json.loads((tmp_path / "run" / "status.json").read_text()) == {"status": "finished"}
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["run"]
    found = losses(tmp_path / "run")
    assert len(found) == 3 and found[-1] < found[0]
    np.testing.assert_allclose(found, alone, rtol=1e-5)


@pytest.mark.slow
def test_processes_that_no_trainer_asked_for_stop_in_a_line(tmp_path, training):
    """Else each would train the whole network by itself, in the same folder."""
    variables = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    done = subprocess.run(
        [sys.executable, *training, "trainer=cpu", "folder=run"],
        cwd=tmp_path,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: trainer: torchrun or srun started 2 processes, but this is for 1")
