"""Activations of encoders' blocks computed again in the backward pass instead of being kept.

Chen, Xu, Zhang, Guestrin: "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174, 2016.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from speakerlab import InputError


def checkpoint_activations(*encoders: nn.Module) -> int:
    """From now on, each block of the encoders keeps its input alone in training; the number of blocks.

    A block is a member of an outermost list or sequence of modules that has parameters.

    Raises:
        InputError: if none of the encoders has such blocks.
    """
    blocks = [block for encoder in encoders for block in _blocks(encoder)]
    if not blocks:
        names = " and ".join(dict.fromkeys(type(encoder).__name__ for encoder in encoders))
        raise InputError(f"checkpoint_activations: {names} has no repeated blocks; set it to false")
    for block in blocks:
        block.forward = partial(_forward, block, block.forward)
    return len(blocks)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from (block for block in child.children() if any(True for _ in block.parameters()))
        else:
            yield from _blocks(child)


def _forward(block: nn.Module, forward, *inputs):
    if not block.training:
        return forward(*inputs)
    return checkpoint(
        forward, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _kept_statistics(block))
    )


@contextmanager
def _kept_statistics(block: nn.Module) -> Iterator[None]:
    """The second time the same batch passes, batch norms leave their running statistics alone."""
    norms = [norm for norm in block.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in kept:
            norm.momentum, norm.num_batches_tracked = momentum, count
