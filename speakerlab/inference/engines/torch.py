"""A model in PyTorch: a checkpoint, the best one of a run's folder, or an exported folder."""

import csv
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from torch import nn

from speakerlab import InputError
from speakerlab.build import load_checkpoint, network_from_checkpoint
from speakerlab.data.development import run_folder
from speakerlab.data.length_batches import LengthBatches
from speakerlab.data.utterances import pad_utterances
from speakerlab.inference.card import ModelCard, fingerprint
from speakerlab.inference.kept_calibration import KeptCalibration, kept_in
from speakerlab.inference.model import find_checkpoint, pick_devices
from speakerlab.network import embed_batches, in_order
from speakerlab.untrusted import NETWORK_PARTS

# Of an exported folder.
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "card.json"
LARGEST_TEXT = 1 << 22  # bytes of its JSON files
PRECISIONS = {"float32": None, "bf16": torch.bfloat16}
# Seconds of sound, padding included, that go through the network at once. What a layer gives for more than these no
# longer fits into a CPU's cache, and the memory for it is fetched anew from the system each time.
AT_ONCE = {"cpu": 15.0}
NO_THRESHOLD = "nobody measured one; `python evaluate.py ckpt=... save_calibration=true` on development trials does"


class TorchEngine:
    """A network on a device; in float32 as evaluations are, so that scores are theirs.

    Args:
        path: a `.ckpt`, a run's folder, or an exported folder.
        device: `auto` is the first GPU if there is one.
        trust: classes that it may name besides this project's own.
        precision: `float32`, or `bf16` to multiply in bfloat16 as mixed training does.

    Attributes:
        card: what goes with the model.
        network: waveforms and lengths -> embeddings, in evaluation mode.
        config: what the network is built from, plain.

    Raises:
        InputError: if it can't be used.
    """

    def __init__(self, path: str | Path, device: str = "auto", trust: tuple[str, ...] = (), precision: str = "float32"):
        if precision not in PRECISIONS:
            raise InputError(f"precision={precision} must be one of {', '.join(PRECISIONS)}")
        self.autocast = PRECISIONS[precision]
        self.device = pick_devices(device, 1)[0]
        path = Path(path).expanduser()
        if (path / WEIGHTS).is_file():
            self.config, network, self.card = _load_folder(path, trust)
        else:
            checkpoint, contents = _read(path)
            network = network_from_checkpoint(contents, trust)
            self.config = network_config(contents["config"])
            self.card = _card(checkpoint, contents, self.config, network)
        self.network = network.to(self.device).requires_grad_(False)

    def __call__(self, waveforms: list[np.ndarray]) -> np.ndarray:
        """`(waveforms, embed_dim)` float32; see `speakerlab.inference.engines`."""
        try:
            with _without_denormals():
                found = embed_batches(self.network, self._batches(waveforms), self.device, self.autocast)
        except TypeError as error:  # of a setting of another kind than the network's, which fitted its weights
            raise InputError(
                f"the model can't embed: its config is damaged ({str(error).splitlines()[0]:.100})"
            ) from error
        except (ValueError, RuntimeError) as error:
            shortest = min(map(len, waveforms)) / self.card.sample_rate
            if isinstance(error, torch.OutOfMemoryError) or shortest >= 1.0:
                raise
            raise InputError(f"{shortest:.2f} s is too short for this model ({str(error).splitlines()[0]})") from error
        return in_order(*found)

    def _batches(self, waveforms: list[np.ndarray]) -> Iterator[dict]:
        """As `pad_utterances` gives them, of waveforms of similar length."""
        seconds = np.array([len(waveform) / self.card.sample_rate for waveform in waveforms])
        for places in LengthBatches(seconds, AT_ONCE.get(self.device.type, math.inf)):
            yield pad_utterances([(place, waveforms[place]) for place in places])


@contextmanager
def _without_denormals() -> Iterator[None]:
    """They slow a convolution tenfold; the program around this one keeps its own way with them."""
    flushed = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)


def network_config(config: dict) -> dict:
    """What of a checkpoint's config its network depends on, and not where its first weights came from: equal networks
    have equal ones, without paths of the machine that trained them."""
    return _network_parts(config) | {"loader": {"sample_rate": config["loader"]["sample_rate"]}}


def _network_parts(config: dict) -> dict:
    """Of a network or a fusion's branch; `overrides` and `ckpt` of a branch and `weights` of an encoder are origins."""
    parts = {part: config[part] for part in (*NETWORK_PARTS, "frames")}
    model = parts["model"]
    if "branches" in model:
        branches = {name: _network_parts(branch) for name, branch in model["branches"].items()}
        return parts | {"model": {**model, "branches": branches}}
    if "weights" not in model["encoder"]:
        return parts
    return parts | {"model": {**model, "encoder": {**model["encoder"], "weights": None}}}


def _fingerprint(config: dict, network: nn.Module) -> str:
    weights = ((name, values.detach().cpu().numpy()) for name, values in network.state_dict().items())
    return fingerprint(config, weights)


def _read(path: Path) -> tuple[Path, dict]:
    """The checkpoint that a path means, and what is in it.

    Raises:
        InputError: without `ckpt=`, as which train.py and evaluate.py alone are given it.
    """
    try:
        checkpoint = find_checkpoint(str(path))
        return checkpoint, load_checkpoint(checkpoint)
    except InputError as error:
        raise InputError(str(error).removeprefix("ckpt=")) from error


def _load_folder(folder: Path, trust: tuple[str, ...]) -> tuple[dict, nn.Module, ModelCard]:
    """Config, network and card of an exported folder.

    Raises:
        InputError: if a file is missing or damaged, or the card is of other weights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        texts = {}
        for name in (CONFIG, CARD):
            if (folder / name).stat().st_size > LARGEST_TEXT:
                raise InputError(f"{folder / name}: is larger than any that speakerlab writes")
            texts[name] = (folder / name).read_text(encoding="utf-8")
        config, card = json.loads(texts[CONFIG]), ModelCard.from_json(texts[CARD])
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder}: is no whole model of speakerlab ({str(error).splitlines()[0]:.200})") from error
    if not isinstance(config, dict):
        raise InputError(f"{folder / CONFIG}: is no config of a network")
    contents = {"config": config, "state_dict": {f"network.{name}": value for name, value in weights.items()}}
    network = network_from_checkpoint(contents, trust, for_audio=False)
    if _fingerprint(config, network) != card.fingerprint:
        raise InputError(f"{folder}: the card is of other weights, or a file is damaged; export the model anew")
    return config, network, card


def _card(checkpoint: Path, contents: dict, config: dict, network: nn.Module) -> ModelCard:
    """The card of a checkpoint, from what it and its run's folder say."""
    whole, run = contents["config"], run_folder(checkpoint)
    branches = whole["model"].get("branches", {}).values() or [whole]
    encoders = [str(branch["model"]["encoder"]["_target_"]).rpartition(".")[2] for branch in branches]
    kept, measured = kept_in(contents), _measured(run, contents.get("global_step"))
    threshold, threshold_from = _threshold(kept, measured)
    name = str(whole.get("name", checkpoint.stem))
    card = ModelCard(
        name=name,
        sample_rate=config["loader"]["sample_rate"],
        embed_dim=network.embed_dim,
        encoder=" and ".join(encoders),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        run=name if run is None else f"{run.parent.name}/{run.name}",
        speakers=len(contents["speakers"]),
        trained_on=_trained_on(whole, contents),
        metrics={f"development {key}": value for key, value in measured.items() if key != "threshold"},
        threshold=threshold,
        threshold_from=threshold_from,
        calibration=None if kept is None else kept.without_paths(),
        fingerprint=_fingerprint(config, network),
    )
    return ModelCard.from_json(card.to_json())  # a checkpoint may say anything of itself


def _trained_on(config: dict, contents: dict) -> str:
    """A line about the training data, without paths."""
    if isinstance(contents.get("imported"), dict):  # another program's
        speakers = len(contents["speakers"])
        return f"by {contents['imported'].get('peer')}: {f'{speakers:,} speakers' if speakers else 'unknown data'}"
    target = str((config.get("data") or {}).get("_target_", "unknown"))
    corpus = target.split(".")[-2] if "." in target else target
    utterances = f", {contents['utterances']:,} utterances" if isinstance(contents.get("utterances"), int) else ""
    return f"{corpus}: {len(contents['speakers']):,} speakers{utterances}"


def _threshold(kept: KeptCalibration | None, measured: dict[str, float]) -> tuple[float | None, str]:
    """The cosine from which on to accept, and where it comes from."""
    if kept is not None and kept.of_cosines:
        value, source = kept.thresholds["eer"], f"equal error rate on {Path(kept.trials).name}, kept with the model"
    elif "threshold" in measured:
        value, source = measured["threshold"], "equal error rate on the run's development trials"
    else:
        return None, NO_THRESHOLD
    return float(np.clip(value, -1.0, 1.0)), source


def _measured(run: Path | None, step: object) -> dict[str, float]:
    """What the run measured on its development set after so many steps; nothing where it did not."""
    table = None if run is None else run / "metrics" / "val_metrics.csv"
    if table is None or not table.is_file():
        return {}
    with open(table, newline="", encoding="utf-8", errors="replace") as file, suppress(csv.Error):
        for row in csv.DictReader(file):
            if row.get("step") == str(step):
                return _numbers(row)
    return {}


def _numbers(row: dict[str, str]) -> dict[str, float]:
    found = {}
    for name, text in row.items():
        try:
            value = float(text)
        except (TypeError, ValueError):
            continue
        if math.isfinite(value) and name not in ("epoch", "step"):
            found[name] = value
    return found
