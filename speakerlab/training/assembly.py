"""Config -> what trains: data module, system and trainer."""

import logging
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from speakerlab import InputError
from speakerlab.build import build, build_augment, build_network
from speakerlab.data.batches import Items
from speakerlab.data.corpus import Corpus
from speakerlab.data.division import TASKS
from speakerlab.training.checkpoints import AtomicCheckpointIO
from speakerlab.training.datamodule import SpeakerDataModule
from speakerlab.training.hardware import has_gpu, resolve_precision
from speakerlab.training.progress import Bar
from speakerlab.training.system import SpeakerSystem


def try_components(cfg: DictConfig, trust: tuple[str, ...] = ()) -> None:
    """Build everything that needs no data, without memory for weights: a value out of range stops before hours of
    scanning, not after."""
    with torch.device("meta"):
        network = build_network(cfg, trust)
        build(cfg.loss, "loss", trust=trust, embed_dim=network.embed_dim, num_speakers=2)
    build(cfg.sampler, "sampler", Items(np.arange(2), np.ones(2)), trust=trust)
    build(cfg.scheduler, "scheduler", trust=trust)
    build(cfg.margin, "margin", trust=trust)
    build(cfg.optimizer, "optimizer", [torch.nn.Parameter(torch.zeros(1, 1))], trust=trust)
    resolve_precision(str(cfg.trainer.precision), str(cfg.trainer.accelerator))
    if cfg.trainer.max_epochs is None or cfg.trainer.max_epochs < 1:
        raise InputError(f"trainer.max_epochs={cfg.trainer.max_epochs} must be at least 1: schedules count by it")
    if cfg.trainer.accumulate_grad_batches < 1:
        raise InputError(f"trainer.accumulate_grad_batches={cfg.trainer.accumulate_grad_batches} must be at least 1")
    if cfg.trainer.gradient_clip_val is not None and cfg.trainer.gradient_clip_val < 0:
        raise InputError(f"trainer.gradient_clip_val={cfg.trainer.gradient_clip_val} must be at least 0, or null")
    if cfg.seed < 0:
        raise InputError(f"seed={cfg.seed} must be at least 0")
    if not cfg.name:
        raise InputError("name must not be empty: runs are kept in outputs/<name>/")
    if cfg.callbacks.get(cfg.task.name) is None:
        raise InputError(f"callbacks.{cfg.task.name} can't be null: the best checkpoint is chosen by it")
    if cfg.task.name == "identification":
        _check_logits(build(cfg.loss, "loss", trust=trust, embed_dim=network.embed_dim, num_speakers=2), network)
    if cfg.loader.crop_seconds is not None and cfg.loader.crop_seconds < 0.1:
        raise InputError(f"loader.crop_seconds={cfg.loader.crop_seconds} must be at least 0.1")
    if cfg.loader.num_workers < 0:
        raise InputError(f"loader.num_workers={cfg.loader.num_workers} must be at least 0")


def _check_logits(loss: torch.nn.Module, network: torch.nn.Module) -> None:
    """Refuse a loss that can't name a speaker; two utterances of each of two, since metric losses want such batches."""
    _, logits = loss(torch.eye(4, network.embed_dim), torch.tensor([0, 0, 1, 1]))
    if logits is None:
        raise InputError(
            f"task=identification needs a loss with logits, such as loss=aam; {type(loss).__name__} gives none"
        )


def build_datamodule(cfg: DictConfig, corpus: Corpus, trust: tuple[str, ...] = ()) -> SpeakerDataModule:
    """What deals out the corpus, with the sampler and the augmentations of the config."""
    return SpeakerDataModule(
        corpus=corpus,
        sampler=partial(build, cfg.sampler, "sampler", trust=trust),
        augment=build_augment(cfg.augment, cfg.loader.sample_rate, trust),
        crop_seconds=cfg.loader.crop_seconds,
        sample_rate=cfg.loader.sample_rate,
        num_workers=cfg.loader.num_workers,
        seed=cfg.seed,
    )


def build_system(cfg: DictConfig, data: SpeakerDataModule, trust: tuple[str, ...] = ()) -> SpeakerSystem:
    """The network, the loss over the corpus' speakers, and how they are trained."""
    network = build_network(cfg, trust)
    if network.features.learns:
        network.features.fit(data.plain_waveforms())
    loss = build(
        cfg.loss,
        "loss",
        trust=trust,
        embed_dim=network.embed_dim,
        num_speakers=len(data.speakers) * data.augment.voices,
    )
    return SpeakerSystem(
        network=network,
        loss=loss,
        augment=data.augment,
        optimizer=partial(build, cfg.optimizer, "optimizer", trust=trust),
        schedule=build(cfg.scheduler, "scheduler", trust=trust),
        margin_schedule=build(cfg.margin, "margin", trust=trust),
        speakers=data.speakers,
        whole_utterances=cfg.loader.crop_seconds is None,
        config=OmegaConf.to_container(cfg, resolve=True),
        compile_encoder=cfg.compile,
    )


def build_trainer(cfg: DictConfig, folder: Path, resumed_step: int, trust: tuple[str, ...] = ()) -> pl.Trainer:
    """Lightning's trainer with this run's callbacks and logger; `precision: auto` becomes what the hardware has."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its import sets it to INFO, tips and all
    callbacks = [
        build(node, f"callbacks.{name}", trust=trust)
        for name, node in cfg.callbacks.items()
        if node is not None and (name == cfg.task.name or name not in TASKS)
    ]
    precision = resolve_precision(str(cfg.trainer.precision), str(cfg.trainer.accelerator))
    progress_bar = cfg.trainer.enable_progress_bar
    if progress_bar is None:
        progress_bar = sys.stdout.isatty()
    if progress_bar:
        callbacks.append(Bar())
    logger = build(
        cfg.logger, "logger", trust=trust, save_dir=str(folder), purge_step=resumed_step + 1 if resumed_step else None
    )
    try:
        return build(
            cfg.trainer,
            "trainer",
            trust=trust,
            precision=precision,
            # Torch synchronises batch norms on GPUs alone.
            sync_batchnorm=bool(cfg.trainer.get("sync_batchnorm")) and has_gpu(str(cfg.trainer.accelerator)),
            enable_progress_bar=progress_bar,
            callbacks=callbacks,
            logger=logger,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=str(folder),
        )
    except (MisconfigurationException, RuntimeError) as error:
        raise InputError(f"trainer: {str(error).splitlines()[0]}") from error
