"""Checkpoints of small untrained networks, such as a run leaves."""

from pathlib import Path

import hydra
import numpy as np
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from speakerlab.build import build_network
from speakerlab.cli.branches import branch_arguments, expand_branches
from speakerlab.shipped import CONF

KEPT = ("features", "norm", "pooling", "model", "frames", "loader")
TINY = [
    "model.encoder.channels=16",
    "model.encoder.pooled_channels=24",
    "model.encoder.embed_dim=8",
    "model.encoder.se_bottleneck=8",
    "features.num_mels=20",
]


def voices(count: int, seconds: float) -> torch.Tensor:
    """Harmonic tones that glide, in noise: `(count, samples)` at 16 kHz."""
    generator = np.random.default_rng(0)
    time = np.arange(round(seconds * 16000)) / 16000
    batch = []
    for _ in range(count):
        pitch = generator.uniform(90, 250) * (1 + 0.2 * np.sin(2 * np.pi * generator.uniform(1, 3) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / 16000
        tone = sum(np.sin(k * phase) / k for k in range(1, 20))
        batch.append(0.05 * tone + 0.01 * generator.standard_normal(len(time)))
    return torch.from_numpy(np.stack(batch)).float()


def write_checkpoint(path: Path, *overrides: str) -> Path:
    """Of the network that these make, its batch norms with statistics of data: fresh ones would be the identity.

    Args:
        path: to write.
        overrides: of `conf/train.yaml`.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(config_dir=str(CONF)):
        cfg = expand_branches(hydra.compose("train", branch_arguments(["name=small", "seed=1", *overrides])))
    GlobalHydra.instance().clear()
    torch.manual_seed(0)
    network = build_network(cfg)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the statistics become those of the batch, in full
    with torch.no_grad():
        network.train()(voices(4, 1.0))
    config = {key: OmegaConf.to_container(cfg[key], resolve=True) for key in KEPT} | {"name": "small", "seed": 1}
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"config": config, "speakers": ["a", "b"], "state_dict": weights, "global_step": 5}, path)
    return path
