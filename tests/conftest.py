"""A corpus of seconds and a network of kilobytes, and the scripts as a user starts them."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hydra
import numpy as np
import pytest
import soundfile
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from speakerlab.cli.branches import branch_arguments, expand_branches
from speakerlab.shipped import CONF

sys.path.insert(0, str(Path(__file__).parent))  # for tests/processes.py, here and in the processes that it starts
SAMPLE_RATE = 16000
# The embedded corpus and the manifests of folders: tests leave a home as they found it. Workers of a parallel run
# inherit the variable and share the folder.
if "SPEAKERLAB_CACHE" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="speakerlab-tests-", ignore_cleanup_errors=True)
    os.environ["SPEAKERLAB_CACHE"] = CACHE.name


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """Commands that run in the tests' own process flush them, which other tests need."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the whole first: their files take minutes, and beside the last of them a process would be idle."""
    items.sort(key=lambda item: len(item.path.parents))


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


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides for a network of a few kilobytes and batches of 4 half seconds, in float32 on one thread."""
    return [
        "model.encoder.channels=16",
        "model.encoder.pooled_channels=24",
        "model.encoder.embed_dim=8",
        "pooling.bottleneck=8",
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


@pytest.fixture
def compose() -> Iterator[Callable[..., tuple[DictConfig, dict[str, str]]]]:
    """`compose("model=ecapa", ...)`: a config before it is checked, and the chosen member of each group."""

    def make(*overrides: str, config_name: str = "train") -> tuple[DictConfig, dict[str, str]]:
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(config_dir=str(CONF)):
            cfg = hydra.compose(config_name, branch_arguments(list(overrides)), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)  # for ${hydra:...}
        choices = {str(group): str(choice) for group, choice in cfg.hydra.runtime.choices.items()}
        with open_dict(cfg):
            del cfg["hydra"]
        return expand_branches(cfg), choices

    yield make
    HydraConfig.instance().cfg = None
    GlobalHydra.instance().clear()


@pytest.fixture
def sweep() -> Iterator[Callable[..., DictConfig]]:
    """`sweep("loss.margin=0.1,0.2")`: what Hydra's callback gets of such a command."""

    def make(*overrides: str, config_name: str = "train") -> DictConfig:
        from hydra._internal.hydra import Hydra
        from hydra._internal.utils import create_config_search_path
        from hydra.types import RunMode

        GlobalHydra.instance().clear()
        hydra = Hydra.create_main_hydra2("train", create_config_search_path(str(CONF)))
        config = hydra.compose_config(config_name, list(overrides), run_mode=RunMode.MULTIRUN)
        config.hydra.mode = RunMode.MULTIRUN
        HydraConfig.instance().set_config(config)
        return config

    yield make
    HydraConfig.instance().cfg = None
    GlobalHydra.instance().clear()
