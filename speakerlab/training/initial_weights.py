"""What a network begins with that is not random: weights from files."""

from omegaconf import DictConfig

from speakerlab import InputError
from speakerlab.build import branch_key, load_checkpoint, load_weights
from speakerlab.network import FusionNetwork, SpeakerNetwork


def branch_start(cfg: DictConfig, name: str) -> str | None:
    """The checkpoint that gives a branch its weights; None where none does."""
    return cfg.model.branches[name].ckpt if name else None


def initialise(network: SpeakerNetwork | FusionNetwork, cfg: DictConfig) -> tuple[str, ...]:
    """Give each branch the weights of its checkpoint, or have an encoder that begins with weights from a file read
    them; lines about them for the log.

    Raises:
        InputError: if a file can't be used.
    """
    notes = []
    for name, branch in network.branches.items():
        key, start = branch_key(name), branch_start(cfg, name)
        try:
            if start is not None:
                notes.append(f"{key}{_load(branch, start)}")
            elif hasattr(branch.encoder, "initialise"):
                notes.append(f"{key}model.encoder: {branch.encoder.initialise()}")
        except InputError as error:
            raise InputError(f"{key}{error}") from error
        except ValueError as error:
            raise InputError(f"{key}model.encoder: {error}") from error
    return tuple(notes)


def _load(branch: SpeakerNetwork, path: str) -> str:
    contents = load_checkpoint(path)
    try:
        load_weights(branch, "network", contents)
    except InputError as error:
        raise InputError(f"ckpt={path}: {error}") from error
    return f"ckpt={path}: its weights, of step {contents.get('global_step', '?')}"
