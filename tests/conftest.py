"""A corpus of seconds and a network of kilobytes, and the scripts as a user starts them."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_RATE = 16000
# Hydra, Lightning and the folder scanner keep their caches here, so that tests leave a home as they found it.
os.environ.setdefault("SPEAKERLAB_CACHE", tempfile.mkdtemp(prefix="speakerlab-tests-"))


@dataclass(frozen=True)
class Folders:
    """Training and development speakers in VoxCeleb's layout, and the trial list over the latter."""

    train: Path
    development: Path
    trials: Path

    def overrides(self) -> list[str]:
        """`data=folder` with these."""
        return [
            "data=folder",
            f"data.root={self.train}",
            f"data.trials={self.trials}",
            f"data.trials_root={self.development}",
        ]


@dataclass(frozen=True)
class Finished:
    """What a script left behind."""

    rc: int
    stdout: str
    stderr: str


def tiny_training() -> list[str]:
    """Overrides for a network of a few kilobytes in float32 on one thread."""
    return [
        "model.encoder.channels=16",
        "model.encoder.pooled_channels=24",
        "model.encoder.embed_dim=8",
        "model.encoder.attention_bottleneck=8",
        "model.encoder.se_bottleneck=8",
        "features.num_mels=8",
        "loader.crop_seconds=0.5",
        "loader.num_workers=0",
        "sampler.batch_size=4",
        "trainer=cpu",
        "trainer.precision=32-true",
        "threads=1",
    ]


def write_voice(path: Path, pitch: float, generator: np.random.Generator, seconds: float = 1.0) -> None:
    """A harmonic tone of this pitch in noise, as FLAC."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * pitch * (harmonic + 1) * time) / (harmonic + 1) for harmonic in range(8))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * tone + 0.05 * generator.standard_normal(len(time)), SAMPLE_RATE)


def write_speakers(root: Path, speakers: int, utterances: int, lowest: float) -> list[list[str]]:
    """Files `s<i>/a/<j>.flac` below `root`; their names, a list a speaker."""
    generator = np.random.default_rng(speakers)
    names = [[f"s{i}/a/{j}.flac" for j in range(utterances)] for i in range(speakers)]
    for i, files in enumerate(names):
        for name in files:
            write_voice(root / name, lowest * 1.15**i * generator.uniform(0.95, 1.05), generator)
    return names


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """6 training speakers with 4 utterances of 1 s each, 3 development speakers with 3 each and all their trials."""
    root = tmp_path_factory.mktemp("corpus")
    write_speakers(root / "train", speakers=6, utterances=4, lowest=90.0)
    names = write_speakers(root / "development", speakers=3, utterances=3, lowest=110.0)
    flat = [(speaker, name) for speaker, files in enumerate(names) for name in files]
    pairs = [(first, second) for i, first in enumerate(flat) for second in flat[i + 1 :]]
    lines = [f"{int(first[0] == second[0])} {first[1]} {second[1]}\n" for first, second in pairs]
    (root / "development.txt").write_text("".join(lines))
    return Folders(root / "train", root / "development", root / "development.txt")


def start_script(script: str, *arguments: str, cwd: Path, **options) -> subprocess.Popen:
    """`python SCRIPT ARGUMENTS` in the folder `cwd`, with this Python; one thread, so that runs compare."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPEAKERLAB_RUN")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *arguments],
        cwd=cwd,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., Finished]:
    """`run_script("train.py", *arguments)` in the test's own folder."""

    def run(script: str, *arguments: str, cwd: Path = tmp_path, timeout: float = 300.0) -> Finished:
        process = start_script(script, *arguments, cwd=cwd)
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        finally:
            process.kill()
        return Finished(process.returncode, stdout, stderr)

    return run
