"""Folders of runs that were scored: scores whose error rates are known, and checkpoints of untrained networks."""

import csv
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

from speakerlab.build import build_network
from speakerlab.cli.launch import compose

SMALL = ["model=ecapa", "model.encoder.channels=16", "model.encoder.pooled_channels=24", "model.encoder.embed_dim=8"]
Row = tuple[int, str, str, float]


def scored_trials(speakers: int = 8, better: float = 0.0, seed: int = 0) -> list[Row]:
    """Every pair of three utterances of each speaker, with a score that is `better` for targets."""
    rng = np.random.default_rng(seed)
    names = [(speaker, f"s{speaker}/{i}.wav") for speaker in range(speakers) for i in range(3)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return [(int(a[0] == b[0]), a[1], b[1], float(rng.normal() + (1.5 + better) * (a[0] == b[0]))) for a, b in pairs]


def write_csv(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("label", "enrol", "test", "score"), *rows])
    return path


def write_text(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{label} {enrol} {test} {score}\n" for label, enrol, test, score in rows))
    return path


def write_predictions(path: Path, right: float, utterances: int = 200, speakers: int = 10) -> Path:
    """A share of `right` identifications; others are taken for the next speaker, or for one who never speaks, and of
    these every other one is not among the first five either."""
    rng = np.random.default_rng(7)
    lines = ["utterance,speaker,rank,predicted,posterior"]
    for i in range(utterances):
        speaker, hit = f"s{i % speakers}", rng.random() < right
        other = "nobody" if i % 7 == 0 else f"s{(i + 1) % speakers}"
        lines.append(f"u{i},{speaker},{1 if hit else (3, 9)[i // speakers % 2]},{speaker if hit else other},0.5")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_checkpoint(path: Path) -> Path:
    torch.manual_seed(0)
    cfg, _ = compose("train", SMALL)
    weights = {f"network.{name}": value for name, value in build_network(cfg).state_dict().items()}
    config = OmegaConf.to_container(cfg, resolve=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"config": config, "speakers": ["a"], "state_dict": weights, "epoch": 2}, path)
    return path


def write_run(folder: Path, rows: list[Row], name: str = "dev") -> Path:
    """A run's folder with a file of scores."""
    write_csv(folder / "scores" / f"{name}.csv", rows)
    return folder
