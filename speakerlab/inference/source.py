"""Where an evaluation's embeddings come from: a checkpoint's network, or files of embeddings."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from speakerlab import InputError
from speakerlab.build import check_workers, load_checkpoint, network_from_checkpoint
from speakerlab.data.embedding_files.formats import place_of, read_embeddings
from speakerlab.data.tree import make_folder
from speakerlab.data.utterances import Utterances
from speakerlab.inference.embedding import Embed, NetworkEmbedder, ProgressBar, SavedEmbedder
from speakerlab.inference.embedding_cache import EmbeddingCache, model_key
from speakerlab.inference.model import (
    Systems,
    described,
    find_checkpoint,
    load_systems,
    output_folder,
    pick_devices,
)
from speakerlab.inference.saved_branches import FusionEmbedder, origins_of, read_branches
from speakerlab.inference.saving import save
from speakerlab.inference.scoring import scored_network
from speakerlab.record import FILE_ONLY, log_path, text_log

log = logging.getLogger("speakerlab")


@dataclass(frozen=True)
class Source:
    """What is evaluated.

    Attributes:
        path: the checkpoint, or the embeddings.
        checkpoint: None for saved embeddings.
        systems: what embeds utterances, by name, the "model" first.
        devices: where is computed, the first for what is no network.
        without: branches of a fusion whose embeddings are missing.
    """

    path: Path
    checkpoint: Path | None
    systems: dict[str, Embed]
    devices: list[torch.device]
    without: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Of reports."""
        return f"Evaluation of {self.path}"


@dataclass(frozen=True)
class Results:
    """Where an evaluation writes.

    Attributes:
        folder: of the run, or of its own.
        name: of what is evaluated on, which its files are called by.
        embeddings: the file that the model's embeddings are kept in; None where nobody asked.
        checkpoint: that gives them, if one does.
    """

    folder: Path
    name: str
    embeddings: Path | None
    checkpoint: Path | None = None

    def keep(self, utterances: Utterances, rows: np.ndarray) -> None:
        """Save the model's embeddings if the user asked for these alone."""
        if self.embeddings is not None:
            save(self.embeddings, utterances, rows, self.checkpoint)


@contextmanager
def recorded(cfg: DictConfig, source: Source, name: str) -> Iterator[Results]:
    """Around all that is written: the folders are made, so that one that can't be is known before hours of embedding,
    and what is logged within stands in `logs/evaluation_<name>.log`."""
    folder = output_folder(cfg, source.path)
    name = "_".join([name, *(f"without_{branch}" for branch in source.without)])  # another system than the whole
    keeps = cfg.save_embeddings is not None and not cfg.save_corpus
    results = Results(folder, name, place_of(cfg.save_embeddings) if keeps else None, source.checkpoint)
    with text_log(log_path(folder, f"evaluation_{name}")):
        log.log(FILE_ONLY, f"evaluation of {source.path} on {', '.join(map(str, source.devices))}: {name}")
        if source.checkpoint is not None:
            log.log(FILE_ONLY, described(source.checkpoint))
        yield results


def open_source(cfg: DictConfig, trust: tuple[str, ...], progress_bar: ProgressBar) -> Source:
    """Load what `ckpt=` or `embeddings=` names; both are a fusion and embeddings of its branches.

    Args:
        cfg: checked.
        trust: classes that the checkpoint may name besides this project's own.
        progress_bar: makes a progress bar of a description.

    Raises:
        InputError: if it can't be used.
    """
    check_workers("num_workers", cfg.num_workers)
    devices = pick_devices(cfg.device, cfg.processes)
    wanted_by, without = cfg.trials or cfg.manifest or ("the list" if cfg.ckpt is None else "the run"), ()
    if cfg.ckpt is not None and cfg.embeddings is not None:
        path = checkpoint = find_checkpoint(cfg.ckpt)
        contents = load_checkpoint(path)
        network = network_from_checkpoint(contents, trust, for_audio=False)
        sources = read_branches(cfg.embeddings, network, origins_of(contents["config"]))
        systems: dict[str, Embed] = {"model": FusionEmbedder(network, sources, devices[0], wanted_by)}
        without = tuple(name for name, one in zip(network.branches, sources, strict=True) if one is None)
        if without and cfg.save_calibration:
            raise InputError(
                f"save_calibration=true keeps one of the whole fusion: give embeddings of {without[0]} too"
            )
    elif cfg.embeddings is not None:
        path, checkpoint = Path(cfg.embeddings).expanduser().absolute(), None
        systems = {"model": SavedEmbedder(read_embeddings(cfg.embeddings), wanted_by)}
    else:
        path = checkpoint = find_checkpoint(cfg.ckpt)
        networks = load_systems(path, cfg.baselines, trust)
        systems = {
            name: _embedder(network, name, networks, devices, cfg, progress_bar)
            for name, network in networks.networks.items()
        }
    return Source(path, checkpoint, systems, devices, without)


def _embedder(
    network: nn.Module,
    name: str,
    systems: Systems,
    devices: list[torch.device],
    cfg: DictConfig,
    progress_bar: ProgressBar,
) -> NetworkEmbedder:
    cache = None
    network = scored_network(network, cfg.scoring, systems.sample_rate)
    if cfg.cache_gigabytes:
        folder = make_folder(Path(cfg.cache_dir), "cache_dir") / "embeddings"
        cache = EmbeddingCache(folder, model_key(network, systems.settings, devices[0]), cfg.cache_gigabytes)
    return NetworkEmbedder(network, name, systems.sample_rate, devices, cfg.num_workers, cache, progress_bar)
