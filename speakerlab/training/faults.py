"""Files that can't be read while training: counted, listed, and a reason to stop if there are too many."""

import csv
import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from speakerlab import InputError
from speakerlab.data.manifest import replacing

QUARANTINE = "quarantine.csv"
COLUMNS = ("path", "reason")
log = logging.getLogger("speakerlab")


class Faults(pl.Callback):
    """Reads what the data workers left in `batch["faults"]`, a list of (path, reason); they have replaced those
    files.

    Each file is counted once, listed in `quarantine.csv` in the run's folder as soon as it is met (with several ranks:
    every `log_every_n_steps` batches), and said in a line at the end of the epoch. The count is in the checkpoint.

    Args:
        max_bad_share: as a share of the training utterances, how many files may be unreadable.

    Raises:
        ValueError: if the share lies outside [0, 1].
        InputError: from the training loop, if there are more.
    """

    def __init__(self, max_bad_share: float):
        if not 0.0 <= max_bad_share <= 1.0:
            raise ValueError(f"max_bad_share={max_bad_share} must lie in [0, 1]")
        self.max_bad_share = max_bad_share
        self.known: dict[str, str] = {}  # path -> reason; the same on every rank
        self.found: dict[str, str] = {}  # by this rank, since the ranks last told each other
        self.reported = 0  # how many a line has been said about

    def state_dict(self) -> dict:
        return {"files": self.known | self._found_by_all(), "reported": self.reported}

    def load_state_dict(self, state_dict: dict) -> None:
        self.known = state_dict["files"]
        self.reported = state_dict["reported"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.path = Path(trainer.default_root_dir) / QUARANTINE
        if trainer.is_global_zero and self.path.exists():  # what came after the checkpoint will come again
            with replacing(self.path) as draft, open(draft, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([COLUMNS, *self.known.items()])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: dict, batch_idx: int
    ) -> None:
        for path, reason in batch["faults"]:
            if path not in self.known:
                self.found[path] = reason
        alone = trainer.world_size == 1
        if self.found if alone else (batch_idx + 1) % trainer.log_every_n_steps == 0:
            self._settle(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._settle(trainer)
        if len(self.known) > self.reported:
            if trainer.is_global_zero:
                were = "was" if len(self.known) == 1 else "were"
                log.warning(f"{self._counted()} could not be read and {were} replaced; listed in {self.path}")
            self.reported = len(self.known)

    def _settle(self, trainer: pl.Trainer) -> None:
        """Bring all ranks and the list up to date; stop if there is too much in it."""
        new = {path: reason for path, reason in self._found_by_all().items() if path not in self.known}
        self.known |= new
        self.found = {}
        if new and trainer.is_global_zero:
            is_new = not self.path.exists()
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([*([COLUMNS] if is_new else []), *new.items()])
        utterances = len(trainer.datamodule.dataset)
        if len(self.known) > self.max_bad_share * utterances:
            path, reason = next(iter(self.known.items()))
            raise InputError(
                f"{self._counted()} can't be read, more than loader.max_bad_share={self.max_bad_share:g} of "
                f"{utterances:,} training utterances (such as {path}: {reason}); all are listed in {self.path}; mend "
                "them, or leave them out of the corpus"
            )

    def _counted(self) -> str:
        return "1 file" if len(self.known) == 1 else f"{len(self.known)} files"

    def _found_by_all(self) -> dict[str, str]:
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self.found
        shares: list = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(shares, self.found)
        return {path: reason for share in shares for path, reason in share.items()}
