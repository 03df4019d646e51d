"""Figures and embeddings as TensorBoard shows them: under Images, and in its Projector."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from speakerlab.reports.embedding_map import Sample
from speakerlab.reports.figure import figure_image

PROJECTED_SPEAKERS, PROJECTED_UTTERANCES = 100, 10  # of each speaker: more would take minutes to load


def write_events(folder: Path, figures: Mapping[str, Figure], sample: Sample | None, step: int) -> None:
    """Write TensorBoard events into a folder of their own; what is there is removed first.

    Args:
        folder: below the one that `tensorboard --logdir` is given.
        figures: tag -> figure.
        sample: for the projector, each utterance with its speaker's name.
        step: of the model, on TensorBoard's axis.
    """
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        for tag, figure in figures.items():
            writer.add_image(tag, figure_image(figure), step, dataformats="HWC")
        if sample is not None and len(sample.speakers) > 1:
            # Tabs and line ends part the projector's columns and rows.
            names = [" ".join(name.split()) for name in sample.speakers.tolist()]
            writer.add_embedding(sample.embeddings, names, global_step=step, tag="embeddings")
