"""Audio files, manifests, trial lists and the datasets made of them."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # called with what is done and what there is in all
