"""Who speaks: utterances of a network's own training speakers, classified by the loss it was trained with."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from omegaconf import DictConfig
from torch import nn

from speakerlab.build import load_checkpoint, loss_from_checkpoint, network_from_checkpoint
from speakerlab.data import Progress
from speakerlab.data.development import read_utterances
from speakerlab.data.manifest import manifest_at, read_manifest, replacing, seconds_of, speaker_classes
from speakerlab.data.recordings import AudioFiles
from speakerlab.data.splits import rows_of_splits
from speakerlab.data.utterances import RowDataset
from speakerlab.inference.evaluation import embed
from speakerlab.inference.model import run_folder
from speakerlab.network import classify
from speakerlab.scoring.identification import Guesses


@dataclass(frozen=True)
class Classifier:
    """A network, the loss that names speakers, their names in class order, and the sample rate in hertz."""

    network: nn.Module
    loss: nn.Module
    speakers: list[str]
    sample_rate: int


def load_classifier(checkpoint: Path, trust: tuple[str, ...] = ()) -> Classifier:
    """All that a checkpoint alone knows of its speakers."""
    contents = load_checkpoint(checkpoint)
    network = network_from_checkpoint(contents, trust)
    loss = loss_from_checkpoint(contents, network.embed_dim, trust)
    # Behind the speakers themselves come the voices that speed perturbation made of them.
    speakers = contents["speakers"][: len(contents["speakers"]) // contents.get("voices", 1)]
    return Classifier(network, loss, speakers, contents["config"]["loader"]["sample_rate"])


def find_utterances(cfg: DictConfig, checkpoint: Path, speakers: list[str]) -> tuple[pa.Table, np.ndarray]:
    """The manifest rows to identify, and the class of each.

    Raises:
        InputError: if there are none, or one is of a speaker whom the model does not know.
    """
    part = cfg.split or "test"
    if cfg.manifest is None:
        table = read_utterances(run_folder(checkpoint) or checkpoint.parent, part)
    else:
        table = rows_of_splits(read_manifest(manifest_at(cfg.manifest, "manifest")), [part], f"manifest={cfg.manifest}")
    return table, speaker_classes(table, speakers)


def identify(
    classifier: Classifier,
    table: pa.Table,
    classes: np.ndarray,
    device: torch.device,
    num_workers: int,
    progress: Progress,
) -> Guesses:
    """Whom the classifier takes the speaker of each row for.

    Args:
        classifier: see `Classifier`.
        table: manifest.
        classes: `(rows,)` true speakers.
        device, num_workers, progress: see `speakerlab.inference.evaluation.embed`.
    """
    utterances = RowDataset(AudioFiles(table, classifier.sample_rate))
    embeddings = embed(classifier.network, utterances, seconds_of(table), device, num_workers, progress)
    return classify(classifier.loss.to(device), embeddings, classes, len(classifier.speakers), device)


def write_predictions(path: Path, table: pa.Table, guesses: Guesses, speakers: list[str]) -> None:
    """CSV with a line an utterance: who speaks, whom the model names and how surely, and the true speaker's rank."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(table["utterance"].to_pylist(), table["speaker"].to_pylist(), *guesses, strict=True)
    with replacing(path) as draft, open(draft, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("utterance", "speaker", "predicted", "probability", "rank"))
        for utterance, speaker, predicted, rank, probability in rows:
            writer.writerow((utterance, speaker, speakers[predicted], f"{probability:.6f}", rank))


def confusions(
    classes: np.ndarray, predicted: np.ndarray, speakers: list[str], most: int
) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: (speaker, taken for, times), at most `most` of them."""
    wrong = classes != predicted
    pairs, counts = np.unique(np.stack([classes[wrong], predicted[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(speakers[pairs[0, i]], speakers[pairs[1, i]], int(counts[i])) for i in order]
