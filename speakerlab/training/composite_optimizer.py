"""Several optimizers, each over parameters of its own, as one."""

from collections import ChainMap
from collections.abc import Callable
from typing import Any

import torch


class States(ChainMap):
    """The states of all parts, each read and written where it lies: Lightning moves them to a device one by one.

    The parts' own are default dicts, in which merely looking for a parameter would make it one of theirs.
    """

    def __getitem__(self, parameter: Any) -> Any:
        for part in self.maps:
            if parameter in part:
                return part[parameter]
        raise KeyError(parameter)

    def __setitem__(self, parameter: Any, state: Any) -> None:
        next(part for part in self.maps if parameter in part)[parameter] = state


class CompositeOptimizer(torch.optim.Optimizer):
    """Steps all parts at once and keeps their states under one state dict, so that accumulation, clipping, loss scaling
    and checkpoints deal with one optimizer.

    Args:
        parts: over parameters that no other part has.
    """

    def __init__(self, parts: list[torch.optim.Optimizer]):
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Take the parts' own groups and states, not copies: a rate that is set here is set there."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]
        self.state = States(*(part.state for part in self.parts))

    def step(self, closure: Callable[[], torch.Tensor] | None = None) -> torch.Tensor | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share()  # loading has replaced them
