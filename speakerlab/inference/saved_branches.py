"""A fusion of embeddings that its branches gave earlier: neither audio nor the branches' networks are needed."""

import logging

import numpy as np
import torch
from omegaconf import DictConfig, ListConfig
from torch import nn

from speakerlab import InputError
from speakerlab.data.amounts import counted
from speakerlab.data.embedding_files.branches import check_size
from speakerlab.data.embedding_files.embeddings import Embeddings
from speakerlab.data.embedding_files.formats import read_embeddings
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
            InputError: if some of the branches' are not there.
        """
        rows = [None if one is None else one.rows_of(utterances.names, self.wanted_by) for one in self.sources]
        fused = np.empty((len(utterances), self.network.embed_dim), np.float32)
        for first in range(0, len(utterances), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            parts = [
                None if one is None else torch.from_numpy(one.rows[places[part]]).to(self.device)
                for one, places in zip(self.sources, rows, strict=True)
            ]
            with torch.autocast(self.device.type, enabled=False):
                fused[part] = self.network.fuse(parts).float().cpu().numpy()
        return fused


def read_branches(given: str | ListConfig | DictConfig, network: nn.Module) -> list[Embeddings | None]:
    """The saved embeddings of each branch of a network.

    Args:
        given: sources in the order of the branches, or by their names, of which some may be left out.
        network: with `branches` by name.

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
        missing = [name for name in names if by_name.get(name) is None]
        if missing:
            log.info(f"without branch {', '.join(missing)}, which {KEY} leaves out")
    else:
        listed = [given] if isinstance(given, str) else list(given)
        if len(listed) != len(names):
            raise InputError(
                f"{KEY} has {counted(len(listed), 'source')}, but the model {len(names)} branches "
                f"({', '.join(names)}): give one for each in this order, or some of them by name, such as "
                f"{KEY}={{{names[0]}: PATH}}"
            )
        by_name, missing = dict(zip(names, listed, strict=True)), []
    if len(missing) == len(names):
        raise InputError(f"{KEY} leaves out every branch; give at least one of {', '.join(names)}")
    found = {name: read_embeddings(by_name[name], KEY) for name in names if name not in missing}
    for name, source in found.items():
        check_size(source, name, network.branches[name].embed_dim)
    return [found.get(name) for name in names]
