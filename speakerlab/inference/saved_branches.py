"""A fusion of embeddings that its branches gave earlier: neither audio nor the branches' networks are needed."""

import logging
from collections.abc import Mapping

import numpy as np
import torch
from omegaconf import DictConfig, ListConfig
from torch import nn

from speakerlab import InputError
from speakerlab.data.amounts import counted
from speakerlab.data.embedding_files.branches import check_size, check_speakers, taken
from speakerlab.data.embedding_files.embeddings import Embeddings
from speakerlab.data.embedding_files.formats import origin_of, read_embeddings
from speakerlab.data.utterances import Utterances
from speakerlab.shipped import nearest

AT_ONCE = 4096  # utterances
KEY = "embeddings"
log = logging.getLogger("speakerlab")


class FusionEmbedder:
    """Embeds utterances by fusing what is saved of them, by name.

    Args:
        network: with `fuse`, which takes an embedding of each branch, or None for a missing one.
        sources: of each branch, in order; None for a missing one.
        device: where to compute.
        wanted_by: what names utterances, for messages.
    """

    def __init__(self, network: nn.Module, sources: list[Embeddings | None], device: torch.device, wanted_by: str):
        self.network = network.to(device)
        self.sources, self.device, self.wanted_by = sources, device, wanted_by

    @torch.inference_mode()
    def __call__(self, utterances: Utterances) -> np.ndarray:
        """Embeddings `(utterances, embed_dim)` float32.

        Raises:
            InputError: if some of the branches' are not there, or two say another speaker of an utterance.
        """
        names = utterances.names
        asked = [None if one is None else taken(one, one.rows_of(names, self.wanted_by), names) for one in self.sources]
        check_speakers([one for one in asked if one is not None])
        fused = np.empty((len(utterances), self.network.embed_dim), np.float32)
        for first in range(0, len(utterances), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            parts = [None if one is None else torch.from_numpy(one.rows[part]).to(self.device) for one in asked]
            with torch.autocast(self.device.type, enabled=False):
                fused[part] = self.network.fuse(parts).float().cpu().numpy()
        return fused


def origins_of(config: dict) -> dict[str, str]:
    """Which checkpoint's embeddings a fusion takes for each branch, as far as that is known: the branch's own, or that
    of the embeddings which the fusion was trained on, if they are still where they were.

    Args:
        config: of the fusion's checkpoint.
    """
    branches, saved = config["model"].get("branches", {}), config["data"].get("branches", {})
    trained = saved if isinstance(saved, dict) else dict(zip(branches, saved, strict=True))
    found = {name: node["ckpt"] or origin_of(trained.get(name)) for name, node in branches.items()}
    return {name: checkpoint for name, checkpoint in found.items() if checkpoint is not None}


def read_branches(
    given: str | ListConfig | DictConfig, network: nn.Module, origins: Mapping[str, str]
) -> list[Embeddings | None]:
    """The saved embeddings of each branch of a network.

    Args:
        given: sources in the order of the branches, or by their names, of which some may be left out.
        network: with `branches` by name.
        origins: see `origins_of`.

    Returns:
        in the order of the branches, None for those left out.

    Raises:
        InputError: if they are not the network's, or can't be read.
    """
    names = list(network.branches)
    if isinstance(given, DictConfig):
        by_name = {str(name): source for name, source in given.items()}
        for name in by_name:
            if name not in names:
                raise InputError(f"{KEY}.{name}: the model's branches are {', '.join(names)}{nearest(name, names)}")
    else:
        listed = [given] if isinstance(given, str) else list(given)
        if len(listed) != len(names):
            raise InputError(
                f"{KEY} has {counted(len(listed), 'source')}, but the model {len(names)} branches "
                f"({', '.join(names)}): give one for each in this order, or some of them by name, such as "
                f"{KEY}={{{names[0]}: PATH}}"
            )
        by_name = dict(zip(names, listed, strict=True))
    for name, source in by_name.items():
        if not isinstance(source, str | None):
            raise InputError(f"{KEY}: {source}, given for {name}, is no file or folder of embeddings")
    missing = [name for name in names if by_name.get(name) is None]
    if len(missing) == len(names):
        raise InputError(f"{KEY} leaves out every branch; give at least one of {', '.join(names)}")
    if missing:
        log.info(f"without branch {', '.join(missing)}, which {KEY} leaves out")
    found = {name: read_embeddings(by_name[name], KEY) for name in names if name not in missing}
    for name, source in found.items():
        _check_not_swapped(source, name, origins)
        check_size(source, name, network.branches[name].embed_dim)
    return [found.get(name) for name in names]


def _check_not_swapped(source: Embeddings, name: str, origins: Mapping[str, str]) -> None:
    """Refuse embeddings of another branch: of the same size, they would be fused to numbers without meaning."""
    for other, checkpoint in origins.items():
        if source.checkpoint == checkpoint and origins.get(name) not in (None, checkpoint):
            raise InputError(
                f"{KEY}: {source.source} is of {checkpoint}, the branch {other}, but was given for {name}; the "
                f"branches are {', '.join(origins)}, in this order"
            )
