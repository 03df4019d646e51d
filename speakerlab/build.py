"""Config -> objects; the only place that instantiates what a config names."""

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from speakerlab import InputError
from speakerlab.augment.chain import Chain, RecordingChain
from speakerlab.augment.recipe import Recipe
from speakerlab.config import check_hears, lacks_folder, locate
from speakerlab.data import Progress, usable_cpus
from speakerlab.data.audio import read_audio
from speakerlab.data.clip_folders import Clip, ClipFinder, assumed_clips
from speakerlab.data.corpus import Corpus
from speakerlab.data.division import NEEDS_CLOSED_SET
from speakerlab.data.tree import make_folder
from speakerlab.features.pipeline import FeaturePipeline
from speakerlab.features.raw import Raw
from speakerlab.losses.weighted_sum import WeightedSum
from speakerlab.network import FusionNetwork, LeftOut, SpeakerNetwork
from speakerlab.shipped import known_targets
from speakerlab.untrusted import check_archive, check_contents, check_loss, check_network, frugal, numbers_in

CHAINS = ("recording", "waveform", "spectrum")


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


def build_network(
    cfg: DictConfig | dict, trust: tuple[str, ...] = (), left_out: Mapping[str, int] | None = None
) -> SpeakerNetwork | FusionNetwork:
    """Features and encoder; of a fusion, those of each branch, and what makes one embedding of theirs.

    Args:
        cfg: the config.
        trust: as in `build`.
        left_out: branches ("" is a network that is one) that are not to be built, and the size of their embeddings.
    """
    rate = {"sample_rate": cfg["loader"]["sample_rate"]}

    def branch(name: str, node: DictConfig | dict) -> SpeakerNetwork:
        if left_out and name in left_out:
            return SpeakerNetwork(LeftOut(left_out[name]), LeftOut(left_out[name]))
        return _build_branch(node, rate, branch_key(name), trust)

    if "branches" not in cfg["model"]:
        return branch("", cfg)
    branches = {name: branch(name, node) for name, node in cfg["model"]["branches"].items()}
    dims = [branch.embed_dim for branch in branches.values()]
    return FusionNetwork(branches, build(cfg["model"]["fusion"], "model.fusion", trust=trust, dims=dims))


def branch_key(name: str) -> str:
    """What the config keys of a network's branch begin with; "" of the one of a network that is one."""
    return f"model.branches.{name}." if name else ""


def _build_branch(cfg: DictConfig | dict, rate: dict[str, int], prefix: str, trust: tuple[str, ...]) -> SpeakerNetwork:
    """The sizes of the features, the chosen pooling and the sample rate go to the encoder."""
    if not cfg["features"]:
        raise InputError(f"{prefix}features=none: only model=fusion has none of its own; choose one, such as fbank")
    key = f"{prefix}features"
    extract = build(cfg["features"], key, trust=trust, **_asked_for(cfg["features"], key, rate))

    def norm(dim: int, channels: int) -> torch.nn.Module:
        log_energies = getattr(extract, "log_energies", False) and not cfg["frames"].get("deltas")
        sizes = {"dim": dim, "channels": channels, "log_energies": log_energies}
        if hasattr(extract, "shift_ms"):  # whose frames need not be 10 ms apart
            sizes["shift_ms"] = extract.shift_ms
        return build(cfg["norm"], f"{prefix}norm", trust=trust, **_asked_for(cfg["norm"], f"{prefix}norm", sizes))

    try:
        features = FeaturePipeline(extract, norm if cfg["norm"] else None, **cfg["frames"])
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{prefix}frames: {error}") from error
    node, key = cfg["model"]["encoder"], f"{prefix}model.encoder"
    pooling = partial(build, cfg["pooling"], f"{prefix}pooling", trust=trust)
    offered = {"feature_channels": features.channels, "pooling": pooling, **rate}
    taken = _asked_for(node, key, offered)
    if "pooling" in taken and not cfg["pooling"]:
        raise InputError(f"{prefix}pooling=none: {node['_target_']} needs a pooling, such as pooling=statistics")
    if "pooling" not in taken and cfg["pooling"]:
        raise InputError(f"{prefix}pooling: {node['_target_']} takes none; use pooling=none")
    if "feature_channels" not in taken and features.channels > 1:
        raise InputError(f"{prefix}features: {node['_target_']} takes one channel, not {features.channels}")
    encoder = build(node, key, trust=trust, feature_dim=features.dim, **taken)
    # The samples would pass for frames, of which there are a hundred times fewer, and a step take minutes.
    if isinstance(extract, Raw) and not getattr(encoder, "takes_samples", False):
        raise InputError(f"{prefix}features=raw: {node['_target_']} takes frames; choose features such as fbank")
    return SpeakerNetwork(features, encoder)


def build_loss(
    cfg: DictConfig | dict, embed_dim: int, num_speakers: int, trust: tuple[str, ...] = ()
) -> torch.nn.Module:
    """The loss over these classes; with a regulariser, the sum of both under the names `loss` and `regulariser`."""
    sizes = {"embed_dim": embed_dim, "num_speakers": num_speakers, "trust": trust}
    loss = _build_losses(cfg["loss"], "loss", **sizes)
    regulariser = cfg["regulariser"]
    if regulariser["loss"] is None:
        return loss
    if not regulariser["weight"] > 0:
        raise InputError(f"regulariser.weight={regulariser['weight']} must be positive; regulariser=none is without")
    losses = {"loss": loss, "regulariser": build(regulariser["loss"], "regulariser.loss", **sizes)}
    return WeightedSum(losses, {"loss": 1.0, "regulariser": regulariser["weight"]})


def _build_losses(node: DictConfig | dict, key: str, **sizes: Any) -> torch.nn.Module:
    """One loss; if the node names several under `losses`, each of these first."""
    if "losses" not in node:
        return build(node, key, **sizes)
    children = {}
    for name, child in node["losses"].items():
        where = f"{key}.losses.{name}"
        if isinstance(child, str):
            raise InputError(f"{where}={child}: a member of the group is given by loss@{where}={child}")
        if child is not None:
            children[name] = _build_losses(child, where, **sizes)
    own = {name: value for name, value in node.items() if name != "losses"}
    return build(own, key, trust=sizes["trust"], losses=children)


def _asked_for(node: DictConfig | dict, key: str, offered: dict[str, Any]) -> dict[str, Any]:
    """What the node's class has arguments for."""
    parameters = inspect.signature(locate(node["_target_"], key)).parameters
    return {name: value for name, value in offered.items() if name in parameters}


def build_augment(cfg: DictConfig, sample_rate: int, find_clips: ClipFinder, trust: tuple[str, ...] = ()) -> Recipe:
    """What is done to training audio; what is null is left out.

    Args:
        cfg: the config's `augment`.
        sample_rate: in hertz.
        find_clips: looks into the folders that the config names.
        trust: as in `build`.
    """
    notes: list[str] = []
    off: list[str] = []

    def found(folder: str, key: str) -> list[Clip]:
        clips, note = find_clips(folder, key)
        notes.append(note)
        return clips

    def chain(kind: str) -> dict[str, Any]:
        built = _build_augmentations(cfg[kind], f"augment.{kind}", sample_rate, found, off, trust)
        return {name: augmentation for name, augmentation in built.items() if augmentation is not None}

    speed, mixup = (
        None if cfg[key] is None else build(cfg[key], f"augment.{key}", trust=trust) for key in ("speed", "mixup")
    )
    recording, waveform, spectrum = (chain(kind) for kind in CHAINS)
    if off:
        notes.append(f"off, being null or without a folder: {', '.join(off)}")
    return Recipe(speed, RecordingChain(recording), Chain(waveform), Chain(spectrum), mixup, tuple(notes))


def _build_augmentations(
    nodes: DictConfig,
    key: str,
    sample_rate: int,
    find_clips: Callable[[str, str], list[Clip]],
    off: list[str],
    trust: tuple[str, ...],
) -> dict[str, Any]:
    """Named augmentations, with the files of their folders and the sample rate where they ask for them; None for those
    that are off, whose keys are added to `off`."""
    built: dict[str, Any] = {}
    for name, node in nodes.items():
        where, within = f"{key}.{name}", len(off)
        built[name] = None
        if node is not None:
            wired: dict[str, Any] = {}
            if "augmentations" in node:
                inner = f"{where}.augmentations"
                alternatives = _build_augmentations(node["augmentations"], inner, sample_rate, find_clips, off, trust)
                node = {name: value for name, value in node.items() if name != "augmentations"}
                wired["augmentations"] = alternatives
            if any(wired.get("augmentations", {"one": True}).values()):
                built[name] = _build_augmentation(node, where, sample_rate, find_clips, trust, wired)
        if built[name] is None:
            off[within:] = [where]  # and not each alternative of a choice that has none
    return built


def _build_augmentation(
    node: DictConfig | dict,
    key: str,
    sample_rate: int,
    find_clips: Callable[[str, str], list[Clip]],
    trust: tuple[str, ...],
    wired: dict[str, Any],
) -> Any:
    """One of them; None if it can't do without a folder and got none, though its other settings are checked."""
    parameters = inspect.signature(locate(node["_target_"], key)).parameters
    if "sample_rate" in parameters:
        wired["sample_rate"] = sample_rate
    off = lacks_folder(node, parameters)
    if off:
        node, find_clips = {**node, "folder": os.curdir}, lambda *_: assumed_clips(os.curdir, key)[0]
    if "clips" in parameters and node["folder"] is not None:
        wired |= {"clips": find_clips(node["folder"], key), "read": partial(read_audio, sample_rate=sample_rate)}
    built = build(node, key, trust=trust, **wired)
    return None if off else built


def check_workers(key: str, count: int) -> None:
    """Refuse a number of data workers that would swamp the machine; InputError says what it takes."""
    most = max(16, 4 * usable_cpus())
    if not 0 <= count <= most:
        raise InputError(f"{key}={count} must lie in 0 to {most} on this machine")


def build_corpus(cfg: DictConfig, trust: tuple[str, ...] = (), progress: Progress | None = None) -> Corpus:
    """Find or make the corpus: this may take long."""
    data = build(cfg.data, "data", trust=trust)
    make_folder(Path(cfg.cache_dir), "cache_dir")
    corpus: Corpus = data.load(progress)
    if cfg.task.name == "identification" and corpus.validation is None:
        raise InputError(f"{NEEDS_CLOSED_SET}, to a corpus that takes it (data=folder, voxceleb1, manifest ...)")
    return corpus


def load_checkpoint(path: str | os.PathLike) -> dict:
    """A checkpoint's contents on the CPU, read as data only: foreign code can't run.

    Raises:
        InputError: if it is no file, damaged, or not a checkpoint of this program.
    """
    if not Path(path).is_file():
        raise InputError(f"ckpt={path}: there is no such file")
    check_archive(Path(path))
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"ckpt={path} can't be read ({error.strerror})") from error
    except Exception as error:  # torch raises half a dozen kinds for damaged files, with advice that is not for users
        raise InputError(f"ckpt={path} is damaged or none: it can't be read as a checkpoint") from error
    if not isinstance(checkpoint, dict) or not {"config", "speakers", "state_dict"} <= checkpoint.keys():
        raise InputError(f"ckpt={path} was not written by speakerlab: it holds no config and speakers")
    check_contents(checkpoint, Path(path))
    return checkpoint


def last_epoch(checkpoint: dict) -> int | None:
    """The epoch that a checkpoint was written in, from 1 as the log counts; None if it knows of none."""
    return checkpoint["epoch"] + 1 if "epoch" in checkpoint else None  # Lightning counts from 0


def network_from_checkpoint(
    checkpoint: dict, trust: tuple[str, ...] = (), for_audio: bool = True
) -> SpeakerNetwork | FusionNetwork:
    """Rebuild the trained network, in evaluation mode, from what the checkpoint alone says.

    Args:
        checkpoint: as `load_checkpoint` gives it.
        trust: classes admitted besides this project's features and encoders.
        for_audio: False for a fusion that is to be given saved embeddings of its branches.

    Raises:
        InputError: if the checkpoint names any other class, its weights fit no network of its config, or it has none
            that was trained for audio.
    """
    config = checkpoint["config"]
    try:
        if for_audio:
            check_hears(config)
        check_network(config, trust)
        with frugal(numbers_in(checkpoint["state_dict"])):
            network = build_network(config, trust, checkpoint.get("left_out"))
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"the checkpoint's config makes no network ({reason:.200})") from error
    load_weights(network, "network", checkpoint)
    return network.eval()


def loss_from_checkpoint(checkpoint: dict, embed_dim: int, trust: tuple[str, ...] = ()) -> torch.nn.Module:
    """Rebuild the trained loss, whose logits name speakers, in evaluation mode; otherwise as
    `network_from_checkpoint`."""
    config = checkpoint["config"]
    check_loss(config, trust)
    with frugal(numbers_in(checkpoint["state_dict"])):
        loss = build_loss(config, embed_dim, len(checkpoint["speakers"]), trust)
    load_weights(loss, "loss", checkpoint)
    return loss.eval()


def load_weights(module: torch.nn.Module, name: str, checkpoint: dict) -> None:
    """Give a module its weights of the checkpoint, where it has this name.

    Raises:
        InputError: if they do not fit it.
    """
    weights = {
        key.removeprefix(f"{name}."): value
        for key, value in checkpoint["state_dict"].items()
        if key.startswith(f"{name}.")
    }
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"the checkpoint's weights do not fit the {name} of its config ({str(error).splitlines()[1].strip()}); "
            "it is from another version of speakerlab"
        ) from error
