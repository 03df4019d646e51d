"""What the last measured epoch left for the report: `scores/last_epoch.npz` in the run's folder."""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from speakerlab.data.development import MEASURED
from speakerlab.data.manifest import replacing
from speakerlab.data.trial_speakers import sample_rows


def write_measured(
    trainer: pl.Trainer, speakers: NDArray, embeddings: NDArray[np.float32], found: dict[str, NDArray | int]
) -> None:
    """Keep what was found, and the embeddings of some utterances, `rows` of the development utterances.

    Args:
        trainer: whose epoch ends; of several processes, the first.
        speakers: `(utterances,)` a number each.
        embeddings: `(utterances, dim)`.
        found: name -> array, such as the scores of the trials.
    """
    path = Path(trainer.default_root_dir) / MEASURED
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = sample_rows(speakers)
    place = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
    with replacing(path) as draft, open(draft, "wb") as file:
        np.savez(file, rows=rows, embeddings=embeddings[rows], **place, **found)
