"""Planes of 2-D networks with their channels last in memory, as the fast convolutions of CPUs and GPUs want them.

Only the order in memory changes, `(batch, dim, frames, channels)` in place of `(batch, channels, dim, frames)`; shapes
and indices stay. Weights, and with them checkpoints and optimizer states, stay as they are: a convolution reorders its
own, which is nothing beside what it computes.
"""

import torch
from torch import Tensor, nn

FEWEST = 16  # channels that a convolution which takes every second place is given last


def put_channels_last(encoders: list[nn.Module]) -> None:
    """From now on, each 2-D convolution of a training step puts its input's channels last.

    What follows a convolution keeps its output's order, so that in a plain 2-D network only the first has to reorder.
    In evaluation mode nothing changes: a development EER is to the digit what the checkpoint gives elsewhere.
    """
    for module in nn.ModuleList(encoders).modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(_channels_first if _overruns(module) else _channels_last)


def _channels_last(convolution: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
    """A forward pre-hook: the input `(batch, channels, height, width)`, reordered if need be."""
    (x,) = inputs
    if not convolution.training or x.stride(1) == 1:
        return None
    # A copy, since of a single plane `contiguous` would say that it is in order already, and what follows would not be.
    return (x.clone(memory_format=torch.channels_last),)


def _overruns(convolution: nn.Conv2d) -> bool:
    """Whether PyTorch 2.11's CPU kernel for the gradients of such a convolution writes beyond its memory, or gives
    wrong ones: of one place, in steps, with few channels, which are last."""
    steps = max(convolution.stride) > 1
    return steps and max(convolution.kernel_size) == 1 and convolution.in_channels < FEWEST


def _channels_first(convolution: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
    """A forward pre-hook: the input in the usual order, however it comes."""
    (x,) = inputs
    return (x.clone(memory_format=torch.contiguous_format),) if convolution.training else None
