"""What training a fusion on saved embeddings asks of the configuration and of the model."""

from dataclasses import replace

from omegaconf import DictConfig
from torch import nn

from speakerlab import InputError
from speakerlab.augment.recipe import Recipe
from speakerlab.data.corpus import Corpus
from speakerlab.data.embedding_files.branches import Branches, check_size


def in_order_of_branches(cfg: DictConfig, corpus: Corpus, augment: Recipe) -> Corpus:
    """The corpus with its embeddings in the order of `model.branches`.

    Raises:
        InputError: if the model is no fusion, has other branches than there are sources, or sound is to be changed.
    """
    if "branches" not in cfg.model:
        raise InputError("data=embeddings has embeddings of several networks in place of audio: add model=fusion")
    if augment.changes_anything:
        raise InputError("augment changes sound, and data=embeddings has none: set augment=none")
    return replace(corpus, saved=corpus.saved.in_order([str(name) for name in cfg.model.branches], "data.branches"))


def take_embeddings(network: nn.Module, saved: Branches) -> None:
    """Train a fusion on what its branches gave once: they themselves stay as they are.

    Args:
        network: a fusion, with `branches` by name.
        saved: embeddings in the order of these.

    Raises:
        InputError: if some have another size than the branch; it names them.
    """
    for (name, branch), source in zip(network.branches.items(), saved.sources, strict=True):
        check_size(source, name, branch.embed_dim)
        branch.requires_grad_(False)
