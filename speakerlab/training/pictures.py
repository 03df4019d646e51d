"""Figures of each measured epoch in TensorBoard."""

from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
from numpy.typing import NDArray


class Pictures(pl.Callback):
    """After each measured epoch, adds what `draw` makes of the run's folder to the logger, if that takes images.

    Args:
        draw: the run's folder -> tag -> `(height, width, 3)` pixels.
    """

    def __init__(self, draw: Callable[[Path], dict[str, NDArray]]):
        self.draw = draw

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not (trainer.is_global_zero and trainer.logger is not None and pl_module.development_metrics):
            return
        writer = trainer.logger.experiment
        if hasattr(writer, "add_image"):
            for tag, image in self.draw(Path(trainer.default_root_dir)).items():
                writer.add_image(tag, image, trainer.global_step, dataformats="HWC")
