"""One of several augmentations, or none."""

import numpy as np
from torch import Tensor

from speakerlab.augment.chain import Augmentation
from speakerlab.augment.probability import check_probability


class Choice:
    """Applies at most one of its augmentations to an item.

    Alternatives whose `apply` is one and the same function (a `staticmethod`, as of noise and babble) share what is
    drawn for them, so that no batch carries three arrays of noise of which two are silent.

    Args:
        augmentations: by name; each also has `neutral(samples)`. One with a probability of its own may still spare
            the item when it is chosen; None is never chosen.
        weights: relative chance of those whose weight is not 1.
        probability: chance that any is chosen.

    Raises:
        ValueError: without augmentations, for weights of others, a negative one or none above 0, or for a
            probability that is none.
    """

    def __init__(
        self,
        augmentations: dict[str, Augmentation | None],
        weights: dict[str, float] | None = None,
        probability: float = 1.0,
    ):
        unknown = [name for name in weights or {} if name not in augmentations]
        if unknown:
            raise ValueError(f"weights: there is no augmentation {unknown[0]!r} among {', '.join(augmentations)}")
        self.augmentations = {name: augmentation for name, augmentation in augmentations.items() if augmentation}
        self.probability = check_probability(probability)
        shares = [(weights or {}).get(name, 1.0) for name in self.augmentations]
        if not (shares and min(shares) >= 0 and 0 < sum(shares) < float("inf")):
            raise ValueError(f"weights={shares} of {', '.join(self.augmentations)}: none below 0, and one above it")
        self.bounds = np.cumsum(shares) / sum(shares)
        self.slots = {name: self._slot(augmentation) for name, augmentation in self.augmentations.items()}

    def _slot(self, augmentation: Augmentation) -> str:
        """Name of the first augmentation with the same `apply`; bound methods are never the same object."""
        return next(
            name
            for name, other in self.augmentations.items()
            if other is augmentation or other.apply is augmentation.apply
        )

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, dict[str, np.ndarray]]:
        """What the chosen one draws for an item, and neutral values for the others."""
        chance, which = generator.random(2)
        drawn = self.neutral(samples)
        if chance < self.probability:
            name = list(self.augmentations)[int(np.searchsorted(self.bounds, which, side="right"))]
            drawn[self.slots[name]] = self.augmentations[name].draw(generator, samples)
        return drawn

    def neutral(self, samples: int) -> dict[str, dict[str, np.ndarray]]:
        """What an item that is spared gets."""
        return {slot: self.augmentations[slot].neutral(samples) for slot in dict.fromkeys(self.slots.values())}

    def apply(self, x: Tensor, drawn: dict[str, dict[str, Tensor]]) -> Tensor:
        """A batch through every alternative, each of which changes only the items that chose it."""
        for slot, values in drawn.items():
            x = self.augmentations[slot].apply(x, values)
        return x
