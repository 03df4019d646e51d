"""Config -> objects; the only place that instantiates what a config names."""

import logging
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from speakerlab import InputError
from speakerlab.augment.chain import Chain
from speakerlab.config import known_targets
from speakerlab.data.audio import probe, read_audio
from speakerlab.data.corpus import Corpus, Progress
from speakerlab.network import SpeakerNetwork

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from speakerlab.training.datamodule import SpeakerDataModule
    from speakerlab.training.system import SpeakerSystem

# What the config of a checkpoint may name, wherever the checkpoint comes from.
NETWORK_TARGETS = ("speakerlab.features.", "speakerlab.encoders.")


def build(node: DictConfig | dict, key: str, *args: Any, trust: tuple[str, ...] = (), **wired: Any) -> Any:
    """Instantiate one node, with what the program wires in; a component's complaint names the config key.

    Args:
        node: has a `_target_`.
        key: where the node stands in the config.
        args, wired: passed on; sizes, functions and the like that stand nowhere in the config.
        trust: targets admitted besides those that the shipped `conf/` names.
    """
    # A factory and a plain call, so that what is wired in never passes through OmegaConf.
    factory = instantiate(node, _partial_=True, _convert_="all", _execution_whitelist_=[*known_targets(), *trust])
    try:
        return factory(*args, **wired)
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(f"{key}: {str(error).splitlines()[0]}") from error


def build_network(cfg: DictConfig | dict, trust: tuple[str, ...] = ()) -> SpeakerNetwork:
    """Features and encoder; the features' `dim` becomes the encoder's `feature_dim`."""
    features = build(cfg["features"], "features", trust=trust, sample_rate=cfg["loader"]["sample_rate"])
    encoder = build(cfg["model"]["encoder"], "model.encoder", trust=trust, feature_dim=features.dim)
    return SpeakerNetwork(features, encoder)


def build_augment(cfg: DictConfig, sample_rate: int, trust: tuple[str, ...] = ()) -> tuple[Chain, Chain]:
    """The chains on waveforms and on features; what is null is left out."""
    chains = []
    for kind in ("waveform", "spectrum"):
        chain = {}
        for name, node in cfg[kind].items():
            key = f"augment.{kind}.{name}"
            if node is None:
                continue
            wired = {}
            if "folder" in node:
                wired = {
                    "clips": list_clips(node.folder, key),
                    "read": partial(read_audio, sample_rate=sample_rate),
                    "sample_rate": sample_rate,
                }
            chain[name] = build(node, key, trust=trust, **wired)
        chains.append(Chain(chain))
    return chains[0], chains[1]


def list_clips(folder: str, key: str) -> list[tuple[str, int, int]]:
    """(path, samples, sample rate) of each audio file below `folder`."""
    from speakerlab.data.tree import list_audio

    root = Path(folder).expanduser()
    if not root.is_dir():
        raise InputError(f"{key}.folder: there is no folder {folder}")
    clips = []
    for relative in list_audio(root)["path"].to_pylist():
        info = probe(root / relative)
        clips.append((str(root / relative), info.samples, info.sample_rate))
    return clips


def build_corpus(cfg: DictConfig, trust: tuple[str, ...] = (), progress: Progress | None = None) -> Corpus:
    """Find or make the corpus: this may take long."""
    return build(cfg.data, "data", trust=trust).load(progress)


def build_datamodule(cfg: DictConfig, corpus: Corpus, trust: tuple[str, ...] = ()) -> "SpeakerDataModule":
    from speakerlab.training.datamodule import SpeakerDataModule

    waveform_augment, spectrum_augment = build_augment(cfg.augment, cfg.loader.sample_rate, trust)
    return SpeakerDataModule(
        corpus=corpus,
        sampler=partial(build, cfg.sampler, "sampler", trust=trust),
        waveform_augment=waveform_augment,
        spectrum_augment=spectrum_augment,
        crop_seconds=cfg.loader.crop_seconds,
        sample_rate=cfg.loader.sample_rate,
        num_workers=cfg.loader.num_workers,
        seed=cfg.seed,
    )


def build_system(cfg: DictConfig, data: "SpeakerDataModule", trust: tuple[str, ...] = ()) -> "SpeakerSystem":
    """The network, the loss over the corpus' speakers, and how they are trained."""
    from speakerlab.training.system import SpeakerSystem

    network = build_network(cfg, trust)
    loss = build(cfg.loss, "loss", trust=trust, embed_dim=network.embed_dim, num_speakers=len(data.speakers))
    return SpeakerSystem(
        network=network,
        loss=loss,
        waveform_augment=data.dataset.waveform_augment,
        spectrum_augment=data.dataset.spectrum_augment,
        optimizer=partial(build, cfg.optimizer, "optimizer", trust=trust),
        schedule=build(cfg.scheduler, "scheduler", trust=trust),
        margin_schedule=build(cfg.margin, "margin", trust=trust),
        speakers=data.speakers,
        config=OmegaConf.to_container(cfg, resolve=True),
        compile_encoder=cfg.compile,
    )


def try_components(cfg: DictConfig, trust: tuple[str, ...] = ()) -> None:
    """Build everything that needs no data, without memory for weights: a value out of range stops before hours of
    scanning, not after."""
    from speakerlab.training.hardware import resolve_precision

    with torch.device("meta"):
        network = build_network(cfg, trust)
        build(cfg.loss, "loss", trust=trust, embed_dim=network.embed_dim, num_speakers=2)
    build(cfg.sampler, "sampler", 2, trust=trust)
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
    if cfg.callbacks.get("verification") is None:
        raise InputError("callbacks.verification can't be null: the best checkpoint is chosen by it")
    if cfg.loader.crop_seconds < 0.1:
        raise InputError(f"loader.crop_seconds={cfg.loader.crop_seconds} must be at least 0.1")
    if cfg.loader.num_workers < 0:
        raise InputError(f"loader.num_workers={cfg.loader.num_workers} must be at least 0")


def build_trainer(cfg: DictConfig, folder: Path, resumed_step: int, trust: tuple[str, ...] = ()) -> "pl.Trainer":
    """Lightning's trainer with this run's callbacks and logger; `precision: auto` becomes what the hardware has."""
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from speakerlab.training.checkpoints import AtomicCheckpointIO
    from speakerlab.training.hardware import has_gpu, resolve_precision
    from speakerlab.training.progress import Bar

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its import sets it to INFO, tips and all
    callbacks = [
        build(node, f"callbacks.{name}", trust=trust) for name, node in cfg.callbacks.items() if node is not None
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


def load_checkpoint(path: str | os.PathLike) -> dict:
    """A checkpoint's contents on the CPU, read as data only: foreign code can't run.

    Raises:
        InputError: if it is no file, damaged, or not a checkpoint of this program.
    """
    if not Path(path).is_file():
        raise InputError(f"ckpt={path}: there is no such file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for damaged files
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"ckpt={path} is damaged: it can't be read as a checkpoint ({reason})") from error
    if not isinstance(checkpoint, dict) or not {"config", "speakers", "state_dict"} <= checkpoint.keys():
        raise InputError(f"ckpt={path} was not written by speakerlab: it holds no config and speakers")
    return checkpoint


def network_from_checkpoint(checkpoint: dict, trust: tuple[str, ...] = ()) -> SpeakerNetwork:
    """Rebuild the trained network, in evaluation mode, from what the checkpoint alone says.

    Args:
        checkpoint: as `load_checkpoint` gives it.
        trust: classes admitted besides this project's features and encoders.

    Raises:
        InputError: if the checkpoint names any other class.
    """
    config = checkpoint["config"]
    admitted = {target for target in known_targets() if target.startswith(NETWORK_TARGETS)}
    for target in _targets([config["features"], config["model"]]):
        if target not in (*admitted, *trust):
            raise InputError(
                f"the checkpoint names {target}, which is neither a feature nor an encoder of speakerlab; "
                f"if you know it, add trust=[{target}]"
            )
    network = build_network(config, trust)
    weights = {
        name.removeprefix("network."): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("network.")
    }
    network.load_state_dict(weights)
    return network.eval()


def _targets(node: Any) -> Iterator[str]:
    """Every `_target_` in a plain config, however deep."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from _targets(child)
