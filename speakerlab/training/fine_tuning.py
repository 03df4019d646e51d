"""Another run's weights as a start, and what of a network stays as it is or learns more slowly."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from speakerlab import InputError
from speakerlab.build import last_epoch, load_checkpoint


def read_start(cfg: DictConfig) -> dict | None:
    """The checkpoint `fine_tuning.ckpt`; None where none is given.

    Raises:
        InputError: if it can't be read.
    """
    if cfg.fine_tuning.ckpt is None:
        return None
    try:
        return load_checkpoint(cfg.fine_tuning.ckpt)
    except InputError as error:
        raise InputError(f"fine_tuning.{error}") from error


def start_from(system: nn.Module, contents: dict, parts: list[str], speakers: list[str]) -> str:
    """Load the weights of some modules; what was loaded, in a line.

    Args:
        system: has `network` and `loss`.
        contents: a checkpoint's.
        parts: names of modules, such as `network`, `network.encoder` or `loss`.
        speakers: that the system is trained on, in class order; the loss's weights are theirs. Where the checkpoint
            has more, such as the voices of speed perturbation, these are left out.

    Raises:
        InputError: if a part is not there, or of another shape, or the loss's classes lack one of the speakers.
    """
    for part in parts:
        module = _module(system, part, "fine_tuning.load")
        weights = {
            name.removeprefix(f"{part}."): value
            for name, value in contents["state_dict"].items()
            if name.startswith(f"{part}.")
        }
        if part.split(".")[0] == "loss" and contents["speakers"] != speakers:
            if not set(speakers) <= set(contents["speakers"]):
                raise InputError(
                    f"fine_tuning.load has {part}, but the checkpoint's {len(contents['speakers'])} speakers are not "
                    f"the {len(speakers)} of this corpus: leave it out, and the loss starts anew"
                )
            weights = _rows_of(weights, module.state_dict(), contents["speakers"], speakers)
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise InputError(f"fine_tuning.load: the checkpoint's {part} does not fit this one: {reason}") from error
    return f"weights of {', '.join(parts)} from a checkpoint of epoch {last_epoch(contents) or '?'}"


def _rows_of(
    weights: dict[str, Tensor], wanted: dict[str, Tensor], known: list[str], speakers: list[str]
) -> dict[str, Tensor]:
    """A loss's weights, of which those with a row or several for each `known` speaker get the rows of `speakers`."""
    place_of = {speaker: place for place, speaker in enumerate(known)}
    places = [place_of[speaker] for speaker in speakers]
    picked = {}
    for name, value in weights.items():
        rows, rest = divmod(len(value), len(known)) if value.ndim else (0, 0)
        per_speaker = rows and not rest and name in wanted and len(wanted[name]) == rows * len(speakers)
        picked[name] = value.unflatten(0, (len(known), rows))[places].flatten(0, 1) if per_speaker else value
    return picked


@dataclass
class Frozen:
    """What is kept as it is.

    Attributes:
        modules: named by the user, to be given back at the epoch `until`.
        parameters: of these, that learn from then on.
        until: epochs; None is the whole training.
        note: a line about it.
    """

    modules: list[nn.Module]
    parameters: set[nn.Parameter]
    until: int | None
    note: str

    @property
    def later(self) -> set[nn.Parameter]:
        """The parameters that do not learn yet."""
        return set() if self.until is None else self.parameters

    def thaw(self) -> None:
        """Train the modules from now on; frozen batch norms stay."""
        for module in self.modules:
            del module.train
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        for module in self.modules:
            module.train()


def freeze(system: nn.Module, parts: list[str], batch_norms: bool, until: int | None = None) -> Frozen:
    """Keep modules as they are: no gradients, and evaluation mode whatever `train()` says.

    Args:
        system: has `network`.
        parts: names of modules.
        batch_norms: the encoders' batch norms too, but for the last of each, which stands before the embedding or ends
            it.
        until: epochs after which the parts, though not the batch norms, are to be thawed.

    Raises:
        InputError: if a part is not there, or nothing is left to train.
    """
    modules = [_module(system, part, "fine_tuning.freeze") for part in dict.fromkeys(parts)]
    norms = _inner_norms(system.network) if batch_norms else []
    of_norms = {parameter for norm in norms for parameter in norm.parameters()}
    parameters = {p for module in modules for p in module.parameters() if p.requires_grad} - of_norms
    for module in (*modules, *norms):
        module.eval().requires_grad_(False)
        module.train = partial(_stay, module)
    if not any(parameter.requires_grad for parameter in system.parameters()):
        raise InputError(f"fine_tuning.freeze={parts} leaves nothing to train")
    frozen = sum(parameter.numel() for parameter in system.parameters() if not parameter.requires_grad)
    note = f"frozen: {frozen:,} of {sum(parameter.numel() for parameter in system.parameters()):,} parameters"
    if until is not None:
        note += f", {sum(parameter.numel() for parameter in parameters):,} of them until epoch {until} is over"
    return Frozen(modules, parameters, until, note)


def check_freezing(cfg: DictConfig) -> None:
    """Refuse an epoch of unfreezing that thaws nothing or never comes."""
    epoch = cfg.fine_tuning.unfreeze_epoch
    if epoch is None:
        return
    if not cfg.fine_tuning.freeze:
        raise InputError(f"fine_tuning.unfreeze_epoch={epoch}: fine_tuning.freeze names nothing that could be unfrozen")
    if not 1 <= epoch < cfg.trainer.max_epochs:
        raise InputError(
            f"fine_tuning.unfreeze_epoch={epoch} must lie in 1 to {cfg.trainer.max_epochs - 1}, within "
            f"trainer.max_epochs={cfg.trainer.max_epochs}; null keeps fine_tuning.freeze to the end"
        )


def _inner_norms(network: nn.Module) -> list[nn.Module]:
    """The batch norms of each encoder but for its last."""
    found: list[nn.Module] = []
    for branch in network.branches.values():
        norms = [m for m in branch.encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        found += norms[:-1]
    if not found:
        raise InputError("fine_tuning.freeze_batch_norms: this encoder has no batch norm to freeze")
    return found


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """In place of a frozen module's `train`."""
    return module


def parameter_groups(
    system: nn.Module,
    apart: set[torch.nn.Parameter],
    rates: dict[str, float],
    later: Collection[torch.nn.Parameter] = (),
) -> list[tuple[float, dict]]:
    """Each optimizer group with the factor of its rate; those with factor 1 first.

    Norms, biases and other vectors are spared the weight decay, which would only shrink gains.

    Args:
        system: whose parameters are dealt out, frozen ones left out.
        apart: parameters that another optimizer has.
        rates: factors by name of a module, of which the longest that fits a parameter counts.
        later: frozen parameters that will learn later; until then they have no gradient, and an optimizer passes over
            them.

    Raises:
        InputError: if a module is not there or a factor not positive.
    """
    for part, rate in rates.items():
        _module(system, part, "fine_tuning.rates")
        if not 0 < rate < float("inf"):
            raise InputError(f"fine_tuning.rates.{part}={rate} must be positive; fine_tuning.freeze keeps a part fixed")
    groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in system.named_parameters():
        if (parameter.requires_grad or parameter in later) and parameter not in apart:
            fitting = [part for part in rates if name == part or name.startswith(f"{part}.")]
            rate = rates[max(fitting, key=len)] if fitting else 1.0
            groups.setdefault((rate, parameter.ndim > 1), []).append(parameter)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0] != 1.0, item[0][0], not item[0][1]))
    return [
        (rate, {"params": parameters} if decays else {"params": parameters, "weight_decay": 0.0})
        for (rate, decays), parameters in ordered
    ]


def _module(system: nn.Module, part: str, key: str) -> nn.Module:
    try:
        return system.get_submodule(part)
    except AttributeError:
        holder = part.rpartition(".")[0]
        while holder and not _has(system, holder):
            holder = holder.rpartition(".")[0]
        inner = system.get_submodule(holder).named_children()
        names = ", ".join(f"{holder}.{name}" if holder else name for name, _ in inner)
        raise InputError(f"{key}: there is no module {part!r}; there are {names}") from None


def _has(system: nn.Module, part: str) -> bool:
    try:
        system.get_submodule(part)
    except AttributeError:
        return False
    return True
