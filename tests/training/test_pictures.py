from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from speakerlab.training.pictures import Pictures


class Writer:
    """Of a logger that takes images."""

    def __init__(self):
        self.images = []

    def add_image(self, tag: str, image: np.ndarray, step: int, dataformats: str) -> None:
        self.images.append((tag, image.shape, step, dataformats))


def draw(folder: Path) -> dict[str, np.ndarray]:
    return {f"val/{folder.name}": np.zeros((4, 6, 3), np.uint8)}


@pytest.mark.parametrize("measured, first, drawn", [(True, True, True), (False, True, False), (True, False, False)])
def test_measured_epochs_are_drawn_once(measured, first, drawn):
    writer = Writer()
    logger = SimpleNamespace(experiment=writer)
    trainer = SimpleNamespace(is_global_zero=first, logger=logger, default_root_dir="/runs/one", global_step=7)
    module = SimpleNamespace(development_metrics={"eer": 0.1} if measured else {})
    Pictures(draw).on_train_epoch_end(trainer, module)
    assert writer.images == ([("val/one", (4, 6, 3), 7, "HWC")] if drawn else [])


@pytest.mark.parametrize("logger", [None, SimpleNamespace(experiment=object())])
def test_other_loggers_are_left_alone(logger):
    trainer = SimpleNamespace(is_global_zero=True, logger=logger, default_root_dir="/runs/one", global_step=7)
    Pictures(draw).on_train_epoch_end(trainer, SimpleNamespace(development_metrics={"eer": 0.1}))
