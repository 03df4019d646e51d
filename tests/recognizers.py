"""A checkpoint in its run's folder, and an engine whose embeddings are known."""

import csv
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

from speakerlab.build import build_network
from speakerlab.cli.launch import compose
from speakerlab.inference.card import ModelCard

SMALL = [
    "model=ecapa",
    "model.encoder.channels=16",
    "model.encoder.pooled_channels=24",
    "model.encoder.embed_dim=8",
    "model.encoder.se_bottleneck=8",
    "pooling.bottleneck=8",
    "features.num_mels=20",
]
STEP = 30


def sounds(count: int = 24, seed: int = 0) -> torch.Tensor:
    """`(count, 8000)`: tones of different pitch and shape in noise."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(count, 3, 1, generator=generator)
    phase = (80 + 300 * draws[:, 0]) * torch.arange(8000) * 2 * torch.pi / 16000
    shape = phase.sin() + draws[:, 1] * (2 * phase).sin() + draws[:, 2] * (5 * phase).sin()
    return 0.1 * shape + 0.03 * torch.randn(count, 8000, generator=generator)


def write_checkpoint(path: Path, *overrides: str, seed: int = 0) -> Path:
    """An untrained network that tells sounds apart: its batch norms have the statistics of some."""
    torch.manual_seed(seed)
    cfg, _ = compose("train", [*SMALL, "name=small", *overrides])
    network = build_network(cfg).train()
    for branch in network.branches.values():
        if branch.features.learns:
            branch.features.fit([sounds()])
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        for batch in range(3):
            network(sounds(seed=batch))
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    contents = {"config": OmegaConf.to_container(cfg, resolve=True), "speakers": ["a", "b"], "state_dict": weights}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(contents | {"epoch": 2, "global_step": STEP, "utterances": 40}, path)
    return path


def write_run(folder: Path, *overrides: str, seed: int = 0) -> Path:
    """A run's folder with its best checkpoint and what was measured after each epoch."""
    write_checkpoint(folder / "checkpoints" / "best.ckpt", *overrides, seed=seed)
    (folder / "metrics").mkdir()
    with open(folder / "metrics" / "val_metrics.csv", "w", newline="") as file:
        rows = [("epoch", "step", "eer", "threshold"), (1, STEP // 2, 0.4, 0.9), (2, STEP, 0.1, 0.25)]
        csv.writer(file).writerows(rows)
    return folder


def card(**changes) -> ModelCard:
    facts = {
        "name": "known",
        "sample_rate": 16000,
        "embed_dim": 3,
        "encoder": "Known",
        "parameters": 0,
        "run": "known/1",
        "speakers": 2,
        "trained_on": "nothing: 2 speakers",
        "metrics": {"development eer": 0.1},
        "threshold": 0.5,
        "threshold_from": "the test",
        "calibration": None,
        "fingerprint": "0" * 64,
    }
    return ModelCard(**facts | changes)


class KnownEngine:
    """Embeds a waveform as its mean, its mean square and its number of samples in seconds; under 0.2 s is too short.

    Args:
        card: of the engine.
    """

    def __init__(self, card: ModelCard):
        self.card = card
        self.batches: list[list[int]] = []

    def __call__(self, waveforms: list[np.ndarray]) -> np.ndarray:
        from speakerlab import InputError

        self.batches.append([len(waveform) for waveform in waveforms])
        if min(self.batches[-1]) < 0.2 * self.card.sample_rate:
            raise InputError("too short for this model")
        assert all(waveform.dtype == np.float32 and waveform.ndim == 1 for waveform in waveforms)
        rate = self.card.sample_rate
        return np.array([[w.mean(), (w * w).mean(), len(w) / rate] for w in waveforms], np.float32)
