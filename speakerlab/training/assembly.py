"""Config -> what trains: data module, system and trainer."""

import logging
import math
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from speakerlab import InputError
from speakerlab.augment.recipe import Recipe
from speakerlab.build import (
    branch_key,
    build,
    build_augment,
    build_loss,
    build_network,
    check_workers,
)
from speakerlab.config import untrained_branches
from speakerlab.data import Progress
from speakerlab.data.batches import Sampler
from speakerlab.data.clip_folders import assumed_clips, clips_below
from speakerlab.data.corpus import Corpus
from speakerlab.data.division import TASKS
from speakerlab.data.left_out import check_share
from speakerlab.network import FusionNetwork, SpeakerNetwork
from speakerlab.ranks import started
from speakerlab.training.activation_checkpointing import checkpoint_activations
from speakerlab.training.channels_last import put_channels_last
from speakerlab.training.checkpoints import AtomicCheckpointIO
from speakerlab.training.compiling import Compiling
from speakerlab.training.datamodule import SpeakerDataModule
from speakerlab.training.fine_tuning import check_freezing, freeze, read_start, start_from
from speakerlab.training.hardware import (
    check_compiler,
    check_devices,
    resolve_channels_last,
    resolve_precision,
    shares_batch_norms,
)
from speakerlab.training.initial_weights import branch_start, initialise
from speakerlab.training.pictures import Pictures
from speakerlab.training.progress import Bar
from speakerlab.training.recordings import training_recordings
from speakerlab.training.saved_branches import in_order_of_branches, take_embeddings
from speakerlab.training.similar_speakers import check_use
from speakerlab.training.system import SpeakerSystem


def try_components(cfg: DictConfig, trust: tuple[str, ...] = ()) -> None:
    """Build everything that needs no data, without memory for weights: a value out of range stops before hours of
    scanning, not after."""
    _check_numbers(cfg)
    check_freezing(cfg)
    with torch.device("meta"):
        network = build_network(cfg, trust)
        loss = build_loss(cfg, network.embed_dim, 2, trust)
        if cfg.ckpt is None and read_start(cfg) is None:  # else a checkpoint has the weights
            with warnings.catch_warnings(action="ignore"):  # weights for shapes alone are checked and not kept
                initialise(network, cfg)
    if cfg.task.name == "identification":
        _check_logits(build_loss(cfg, network.embed_dim, 2, trust), network)
    augment = build_augment(cfg.augment, cfg.loader.sample_rate, assumed_clips, trust)
    if cfg.augment.mixup is not None and cfg.loader.crop_seconds is None:
        raise InputError("augment.mixup needs items of equal length: set loader.crop_seconds, or augment.mixup=null")
    sampler = build_sampler(cfg, augment, trust)
    if cfg.callbacks.get("similar_speakers") is not None:
        check_use(sampler, loss)
    _check_pairs(cfg, loss, sampler)
    build(cfg.scheduler, "scheduler", trust=trust)
    build(cfg.margin, "margin", trust=trust)
    build_callbacks(cfg, trust)
    for key, node in optimizer_nodes(cfg).items():
        build(node, key, [torch.nn.Parameter(torch.zeros(1, 1))], trust=trust)


def _check_numbers(cfg: DictConfig) -> None:
    """Refuse what no component of ours would."""
    _precision(cfg)
    check_devices(cfg.trainer.devices, str(cfg.trainer.accelerator))
    check_compiler(cfg.compile)
    check_workers("loader.num_workers", cfg.loader.num_workers)
    if cfg.trainer.max_epochs is None or cfg.trainer.max_epochs < 1:
        raise InputError(f"trainer.max_epochs={cfg.trainer.max_epochs} must be at least 1: schedules count by it")
    if cfg.trainer.accumulate_grad_batches < 1:
        raise InputError(f"trainer.accumulate_grad_batches={cfg.trainer.accumulate_grad_batches} must be at least 1")
    if cfg.trainer.log_every_n_steps < 1:
        raise InputError(f"trainer.log_every_n_steps={cfg.trainer.log_every_n_steps} must be at least 1")
    if cfg.trainer.gradient_clip_val is not None and not 0 <= cfg.trainer.gradient_clip_val < math.inf:
        raise InputError(f"trainer.gradient_clip_val={cfg.trainer.gradient_clip_val} must be at least 0, or null")
    if cfg.seed < 0:
        raise InputError(f"seed={cfg.seed} must be at least 0")
    if not cfg.name:
        raise InputError("name must not be empty: runs are kept in outputs/<name>/")
    if cfg.callbacks.get(cfg.task.name) is None:
        raise InputError(f"callbacks.{cfg.task.name} can't be null: the best checkpoint is chosen by it")
    if cfg.callbacks.get("checkpoints") is None:
        raise InputError("callbacks.checkpoints can't be null: what is trained would be lost")
    if cfg.loader.crop_seconds is not None and not 0.1 <= cfg.loader.crop_seconds <= 3600:
        raise InputError(f"loader.crop_seconds={cfg.loader.crop_seconds} must lie in 0.1 to 3600, or be null")
    if not 8000 <= cfg.loader.sample_rate <= 192000:
        raise InputError(f"loader.sample_rate={cfg.loader.sample_rate} must lie in 8000 to 192000")
    if cfg.loader.cache not in (None, "pcm"):
        raise InputError(f"loader.cache={cfg.loader.cache} must be pcm or null")
    check_share("loader.max_bad_share", cfg.loader.max_bad_share)


def _check_logits(loss: torch.nn.Module, network: torch.nn.Module) -> None:
    """Refuse a loss that can't name a speaker; two utterances of each of two, since metric losses want such batches."""
    _, logits = loss(torch.eye(4, network.embed_dim), torch.tensor([0, 0, 1, 1]))
    if logits is None:
        raise InputError(
            f"task=identification needs a loss with logits, such as loss=aam; {type(loss).__name__} gives none"
        )


def _check_pairs(cfg: DictConfig, loss: torch.nn.Module, sampler: Sampler) -> None:
    """Refuse a loss that compares utterances of a speaker where the batches have none to compare."""
    needed = getattr(loss, "utterances_per_speaker", 1)
    if needed == 1:
        return
    name = cfg.loss._target_.split(".")[-1]
    if getattr(sampler, "utterances_per_speaker", 1) < needed:
        other = "" if hasattr(sampler, "utterances_per_speaker") else "sampler=speakers_x_utterances "
        raise InputError(
            f"loss: {name} compares a speaker's utterances, {needed} or more in a batch: give "
            f"{other}sampler.utterances_per_speaker={needed}"
        )
    if cfg.augment.mixup is not None:
        raise InputError(
            f"augment.mixup needs a loss that classifies; {name} compares embeddings: choose another loss, or "
            "augment.mixup=null"
        )


def optimizer_nodes(cfg: DictConfig) -> dict[str, DictConfig]:
    """Each optimizer's node under its key in the config: the network's and the loss's, and a regulariser's own."""
    nodes = {"optimizer": cfg.optimizer}
    if cfg.regulariser.loss is not None:
        if cfg.regulariser.optimizer is None:
            raise InputError("regulariser.optimizer can't be null: what the regulariser learns has one of its own")
        nodes["regulariser.optimizer"] = cfg.regulariser.optimizer
    return nodes


def build_sampler(cfg: DictConfig, augment: Recipe, trust: tuple[str, ...] = ()) -> Sampler:
    """What orders the utterances; refused where the augmentation would make other speakers of those it groups."""
    sampler = build(cfg.sampler, "sampler", trust=trust)
    voices = len(augment.class_names(["one"]))
    if sampler.group > 1 and voices > 1:
        raise InputError(
            f"sampler={cfg.sampler._target_.split('.')[-2]} puts chosen speakers together, but augment.speed turns "
            f"each item into one of {voices} voices of its speaker: set augment.speed=null or take another sampler"
        )
    return sampler


def build_datamodule(
    cfg: DictConfig, corpus: Corpus, trust: tuple[str, ...] = (), progress: Progress | None = None
) -> SpeakerDataModule:
    """What deals out the corpus, with the sampler and the augmentations of the config.

    Looking into the folders of noise may take long, and so may decoding into the cache of `loader.cache=pcm`:
    `progress` is called with (files done, files in all). The data module's corpus lacks what the cache could not read.
    """
    augment = build_augment(
        cfg.augment, cfg.loader.sample_rate, partial(clips_below, cache_dir=cfg.cache_dir, progress=progress), trust
    )
    if corpus.saved is not None:
        corpus = in_order_of_branches(cfg, corpus, augment)
    corpus, recordings = training_recordings(cfg, corpus, progress)
    return SpeakerDataModule(
        corpus=corpus,
        recordings=recordings,
        sampler=build_sampler(cfg, augment, trust),
        augment=augment,
        crop_seconds=cfg.loader.crop_seconds,
        sample_rate=cfg.loader.sample_rate,
        num_workers=cfg.loader.num_workers,
        seed=cfg.seed,
    )


def build_system(
    cfg: DictConfig,
    data: SpeakerDataModule,
    trust: tuple[str, ...] = (),
    resumed: bool = False,
    start: dict | None = None,
) -> SpeakerSystem:
    """The network, the loss over the corpus' speakers, and how they are trained.

    Args:
        cfg: the whole config.
        data: deals out the corpus.
        trust: as in `build`.
        resumed: whether a checkpoint of this run will be loaded, so that the network needs neither statistics of the
            training set nor weights from a file.
        start: the contents of `fine_tuning.ckpt`.
    """
    network = build_network(cfg, trust)
    if shares_batch_norms(cfg):
        # Here and not by Lightning, which would put new modules in the place of frozen ones, and these would train.
        network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    notes = data.notes + _unmasked(network, data.augment)
    on_audio = data.corpus.saved is None
    if not on_audio:
        take_embeddings(network, data.corpus.saved, untrained_branches(OmegaConf.to_container(cfg, resolve=True)))
    if not resumed:
        for name, branch in network.branches.items():
            if on_audio and branch.features.learns and branch_start(cfg, name) is None:
                branch.features.fit(data.plain_waveforms())
        if start is None or "network" not in cfg.fine_tuning.load:
            notes += initialise(network, cfg)
    class_names = data.augment.class_names(data.speakers)
    loss = build_loss(cfg, network.embed_dim, len(class_names), trust)
    system = SpeakerSystem(
        network=network,
        loss=loss,
        augment=data.augment,
        optimizers={key: partial(build, node, key, trust=trust) for key, node in optimizer_nodes(cfg).items()},
        schedule=build(cfg.scheduler, "scheduler", trust=trust),
        margin_schedule=build(cfg.margin, "margin", trust=trust),
        speakers=class_names,
        whole_utterances=cfg.loader.crop_seconds is None,
        config=OmegaConf.to_container(cfg, resolve=True),
        rates=dict(cfg.fine_tuning.rates or {}),
        compile_encoder=cfg.compile,
        notes=notes,
    )
    if start is not None and not resumed:
        system.notes += (start_from(system, start, list(cfg.fine_tuning.load), class_names),)
    encoders = [branch.encoder for branch in network.branches.values()]
    if cfg.checkpoint_activations:
        checkpoint_activations(*encoders)
    if resolve_channels_last(cfg.channels_last, _precision(cfg), str(cfg.trainer.accelerator)):
        put_channels_last(encoders)
    tuning = cfg.fine_tuning
    if tuning.freeze or tuning.freeze_batch_norms:
        system.frozen = freeze(system, list(tuning.freeze), tuning.freeze_batch_norms, tuning.unfreeze_epoch)
        system.notes += (system.frozen.note,)
    return system


def _precision(cfg: DictConfig) -> str:
    """Lightning's name of it; `auto` becomes what the hardware has."""
    return resolve_precision(str(cfg.trainer.precision), str(cfg.trainer.accelerator))


def _unmasked(network: SpeakerNetwork | FusionNetwork, augment: Recipe) -> tuple[str, ...]:
    """A line for the log about each waveform that no masks of a spectrum are for."""
    names = ", ".join(augment.spectrum.augmentations)
    return tuple(
        f"augment.spectrum: {names} is not for the waveform, which {branch_key(name)}model.encoder takes"
        for name, branch in network.branches.items()
        if names and branch.features.dim == 1
    )


def build_callbacks(cfg: DictConfig, trust: tuple[str, ...] = ()) -> list[pl.Callback]:
    """Those that are not null, and of the ones that measure the task's own."""
    return [
        build(node, f"callbacks.{name}", trust=trust)
        for name, node in cfg.callbacks.items()
        if node is not None and (name == cfg.task.name or name not in TASKS)
    ]


def build_trainer(
    cfg: DictConfig,
    folder: Path,
    resumed_step: int,
    trust: tuple[str, ...] = (),
    draw: Callable[[Path], dict[str, NDArray]] | None = None,
) -> pl.Trainer:
    """Lightning's trainer with this run's callbacks and logger; `precision: auto` becomes what the hardware has.

    Args:
        cfg: the whole config.
        folder: of the run.
        resumed_step: optimizer steps in the checkpoint; 0 for a new run.
        trust: as in `build`.
        draw: makes figures of each measured epoch; see `speakerlab.training.pictures`.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its import sets it to INFO, tips and all
    callbacks = build_callbacks(cfg, trust)
    # Padded utterances have a length of their own in each batch, which would compile anew.
    if cfg.compile is None and cfg.loader.crop_seconds is not None and not cfg.checkpoint_activations:
        callbacks.append(Compiling())
    progress_bar = cfg.trainer.enable_progress_bar
    if progress_bar is None:
        progress_bar = sys.stdout.isatty()
    if progress_bar:
        callbacks.append(Bar())
    if draw is not None:
        callbacks.append(Pictures(draw))
    logger = build(
        cfg.logger, "logger", trust=trust, save_dir=str(folder), purge_step=resumed_step + 1 if resumed_step else None
    )
    try:
        trainer = build(
            cfg.trainer,
            "trainer",
            trust=trust,
            precision=_precision(cfg),
            sync_batchnorm=False,  # `build_system` has seen to it
            enable_progress_bar=progress_bar,
            callbacks=callbacks,
            logger=logger,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=str(folder),
        )
    except (MisconfigurationException, RuntimeError, ImportError) as error:
        raise InputError(f"trainer: {str(error).splitlines()[0]}") from error
    if started() not in (1, trainer.world_size):
        raise InputError(
            f"trainer: torchrun or srun started {started()} processes, but this is for {trainer.world_size}: give "
            "trainer=ddp trainer.num_nodes=MACHINES trainer.devices=N, the processes of each machine"
        )
    return trainer
