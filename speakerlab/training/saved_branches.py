"""What training a fusion on saved embeddings asks of the configuration and of the model."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig
from torch import nn

from speakerlab import InputError
from speakerlab.augment.recipe import Recipe
from speakerlab.data.corpus import Corpus
from speakerlab.data.embedding_files.branches import Branches, check_size
from speakerlab.data.embedding_files.embeddings import Embeddings

KEY = "data.branches"


def in_order_of_branches(cfg: DictConfig, corpus: Corpus, augment: Recipe) -> Corpus:
    """The corpus with its embeddings in the order of `model.branches`. A model that is no fusion takes one source, of
    its own embeddings, on which the loss alone is trained.

    Raises:
        InputError: if the model has other branches than there are sources, or the weights of another checkpoint than
            theirs; or if sound is to be changed.
    """
    if augment.changes_anything:
        raise InputError("augment changes sound, and data=embeddings has none: set augment=none")
    if "branches" not in cfg.model:
        if len(corpus.saved.sources) > 1:
            raise InputError("data.branches: several sources are for a fusion of them: add model=fusion")
        return corpus
    saved = corpus.saved.in_order([str(name) for name in cfg.model.branches], KEY)
    for (name, node), source in zip(cfg.model.branches.items(), saved.sources, strict=True):
        _check_origin(str(name), node.ckpt, source)
    return replace(corpus, saved=saved)


def _check_origin(name: str, given: str | None, source: Embeddings) -> None:
    """Refuse a branch's weights that are not those which its embeddings came from: together they would be wrong."""
    if given is None or source.checkpoint is None:
        return
    one, other = Path(given), Path(source.checkpoint)
    same = one.samefile(other) if one.exists() and other.exists() else one.absolute() == other.absolute()
    if not same:
        raise InputError(f"model.branches.{name}.ckpt={given}: the embeddings in {source.source} are of {other}")


def take_embeddings(network: nn.Module, saved: Branches, untrained: Collection[str]) -> None:
    """Train on what the branches of a network gave once: they themselves stay as they are.

    Args:
        network: with `branches` by name.
        saved: embeddings in the order of these.
        untrained: branches that get no weights from elsewhere, so that their random ones would only fill checkpoints.

    Raises:
        InputError: if some have another size than the branch; it names them.
    """
    for (name, branch), source in zip(network.branches.items(), saved.sources, strict=True):
        advice = "" if source.checkpoint is None else f"; add model.branches.{name}.ckpt={source.checkpoint}"
        check_size(source, name, branch.embed_dim, advice if name in untrained else "")
        branch.requires_grad_(False)
        if name in untrained:
            branch.leave_out()
