"""Who speaks: the classifier that a network was trained with, and the files that keep whom utterances are taken for."""

import csv
from pathlib import Path

import numpy as np
from torch import nn

from speakerlab import InputError
from speakerlab.build import load_checkpoint, loss_from_checkpoint
from speakerlab.data.manifest import replacing
from speakerlab.data.utterances import Utterances
from speakerlab.inference.evaluation import keep_metrics
from speakerlab.inference.source import Results
from speakerlab.scoring.identification import Guesses, identification_metrics


def load_classifier(checkpoint: Path, embed_dim: int, trust: tuple[str, ...] = ()) -> tuple[nn.Module, list[str]]:
    """The loss that names speakers by embeddings, and their names in class order: all that a checkpoint alone knows."""
    contents = load_checkpoint(checkpoint)
    if not contents["speakers"]:
        raise InputError(f"ckpt={checkpoint}: it does not know who it was trained on; name speakers by enrolment=")
    loss = loss_from_checkpoint(contents, embed_dim, trust)
    # Behind the speakers themselves come the voices that speed perturbation made of them.
    return loss, contents["speakers"][: len(contents["speakers"]) // contents.get("voices", 1)]


def keep_guesses(
    results: Results,
    evaluated: Path,
    utterances: Utterances,
    classes: np.ndarray,
    speakers: list[str],
    guesses: dict[str, Guesses],
) -> dict[str, dict[str, float]]:
    """Write `scores/<name>_predictions.csv`, of several systems `scores/<name>_<system>_predictions.csv`, and a line
    each to `metrics/test_metrics.csv`; the metrics of each system.

    Args:
        results: where.
        evaluated: the checkpoint or embeddings.
        utterances: that were identified, with their speakers.
        classes: `(utterances,)` true speakers.
        speakers: names in class order.
        guesses: of each system.
    """
    metrics = {}
    for system, found in guesses.items():
        name = results.name if len(guesses) == 1 else f"{results.name}_{system}"
        path = results.folder / "scores" / f"{name}_predictions.csv"
        write_predictions(path, utterances.names, utterances.speakers, found, speakers)
        metrics[system] = identification_metrics(found, classes)
    keep_metrics(results.folder, evaluated, results.name, metrics)
    return metrics


def write_predictions(path: Path, names: list[str], truth: list[str], guesses: Guesses, speakers: list[str]) -> None:
    """CSV with a line an utterance: who speaks, at which place of all speakers the system names them, and the first few
    that it names, with the posterior of each.

    Args:
        path: of the file.
        names, truth: `(utterances,)` and who speaks in each.
        guesses: see `Guesses`.
        speakers: names in class order.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    places = range(1, guesses.first.shape[1] + 1)
    header = ["utterance", "speaker", "rank"]
    for place in places:
        header += ["predicted", "posterior"] if place == 1 else [f"predicted_{place}", f"posterior_{place}"]
    columns = zip(names, truth, guesses.rank.tolist(), guesses.first.tolist(), guesses.posteriors.tolist(), strict=True)
    with replacing(path) as draft, open(draft, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for name, speaker, rank, first, posteriors in columns:
            named = zip((speakers[one] for one in first), (f"{value:.6f}" for value in posteriors), strict=True)
            writer.writerow((name, speaker, rank, *(cell for pair in named for cell in pair)))
