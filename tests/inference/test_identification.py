"""Utterances of known answers, and the files that keep what was said of them."""

import csv

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf
from tones import SPEAKERS, ToneNetwork, tone_loss, write_tones

from speakerlab import InputError
from speakerlab.build import build_network
from speakerlab.data.corpus import Corpus
from speakerlab.data.development import write_development
from speakerlab.data.manifest import speaker_classes, write_manifest
from speakerlab.inference.identification import (
    Classifier,
    confusions,
    find_utterances,
    identify,
    load_classifier,
    write_predictions,
)
from speakerlab.losses.aam import AamSoftmax

ENCODER = {"channels": 16, "pooled_channels": 24, "embed_dim": 8, "se_bottleneck": 8}
CONFIG = {
    "loader": {"sample_rate": 16000},
    "regulariser": {"loss": None},
    "features": {"_target_": "speakerlab.features.fbank.Fbank", "num_mels": 8},
    "frames": {},
    "norm": {},
    "pooling": {"_target_": "speakerlab.encoders.pooling.statistics.Statistics"},
    "model": {"encoder": {"_target_": "speakerlab.encoders.ecapa.Ecapa"} | ENCODER},
    "loss": {"_target_": "speakerlab.losses.aam.AamSoftmax", "margin": 0.2, "scale": 32.0},
}
HUMMED = [("s3", 3), ("s0", 0), ("s6", 6), ("s1", 4), ("s0", 0), ("s1", 4), ("s2", 0)]


@pytest.fixture
def table(tmp_path):
    return write_tones(tmp_path / "audio", HUMMED)


@pytest.mark.parametrize("workers", [0, 1])
def test_every_row_gets_its_own_answer(table, tmp_path, workers):
    classifier = Classifier(ToneNetwork(), tone_loss(), SPEAKERS, 16000)
    classes = speaker_classes(table, SPEAKERS)
    guesses = identify(classifier, table, classes, torch.device("cpu"), workers, lambda done, total: None)
    assert guesses.predicted.tolist() == [tone for _, tone in HUMMED]
    assert (guesses.rank == 1).tolist() == [True, True, True, False, True, False, False]
    write_predictions(tmp_path / "scores" / "x.csv", table, guesses, SPEAKERS)
    with open(tmp_path / "scores" / "x.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["utterance"] for row in rows] == table["utterance"].to_pylist()
    assert [(row["speaker"], row["predicted"]) for row in rows] == [(name, f"s{tone}") for name, tone in HUMMED]
    assert [int(row["rank"]) for row in rows] == guesses.rank.tolist()
    assert all(0.5 < float(row["probability"]) <= 1 for row in rows)
    mixed = confusions(classes, guesses.predicted, SPEAKERS, most=5)
    assert (
        mixed == [("s1", "s4", 2), ("s2", "s0", 1)] and confusions(classes, guesses.predicted, SPEAKERS, 1) == mixed[:1]
    )
    assert confusions(classes, classes, SPEAKERS, 5) == []


def evaluation(**changes):
    return OmegaConf.create({"split": None, "manifest": None} | changes)


def test_what_is_identified(table, tmp_path):
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    with pytest.raises(InputError, match=f"{tmp_path / 'run'} holds no utterances of test; give manifest=MANIFEST"):
        find_utterances(evaluation(), checkpoint, SPEAKERS)
    write_development(tmp_path / "run", Corpus(table, None, [], validation=table.slice(0, 3), test=table.slice(3)))
    for split, expected in ((None, table.slice(3)), ("test", table.slice(3)), ("val", table.slice(0, 3))):
        rows, classes = find_utterances(evaluation(split=split), checkpoint, SPEAKERS)
        assert rows["utterance"].to_pylist() == expected["utterance"].to_pylist()
        assert [SPEAKERS[i] for i in classes] == expected["speaker"].to_pylist()
    write_manifest(table, tmp_path / "mine.parquet")
    given = evaluation(manifest=str(tmp_path / "mine.parquet"))
    assert len(find_utterances(given, tmp_path / "elsewhere.ckpt", SPEAKERS)[0]) == 7
    with pytest.raises(InputError, match="has no utterance of split 'val'; it has 'test'"):
        find_utterances(evaluation(manifest=str(tmp_path / "mine.parquet"), split="val"), checkpoint, SPEAKERS)
    with pytest.raises(InputError, match="speaker 's3' is not among the 2 known speakers"):
        find_utterances(given, checkpoint, ["s0", "s1"])


def test_the_checkpoint_alone_names_speakers(tmp_path):
    """The network and the loss that it holds, by one utterance at a time through the modules themselves."""
    torch.manual_seed(0)
    network, loss = build_network(CONFIG).eval(), AamSoftmax(8, 3 * len(SPEAKERS)).eval()
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    classes = [f"{speaker}{voice}" for voice in ("", " x0.9", " x1.1") for speaker in SPEAKERS]
    weights |= {f"loss.{name}": value for name, value in loss.state_dict().items()}
    contents = {"config": CONFIG, "speakers": classes, "state_dict": weights}
    torch.save(contents | {"voices": 3}, tmp_path / "best.ckpt")
    table = write_tones(tmp_path / "audio", [("s3", 3), ("s0", 0), ("s6", 6)])
    classes = speaker_classes(table, SPEAKERS)
    classifier = load_classifier(tmp_path / "best.ckpt")
    assert classifier.speakers == SPEAKERS
    guesses = identify(classifier, table, classes, torch.device("cpu"), 0, lambda done, total: None)
    for row, (name, samples) in enumerate(zip(table["path"].to_pylist(), table["samples"].to_pylist(), strict=True)):
        wave = torch.from_numpy(soundfile.read(tmp_path / "audio" / name, dtype="float32")[0])[None]
        with torch.inference_mode():
            logits = loss(network(wave, torch.tensor([samples])), torch.tensor([0]))[1][0, : len(SPEAKERS)].numpy()
        assert guesses.predicted[row] == logits.argmax()
        assert guesses.rank[row] == 1 + (logits > logits[classes[row]]).sum()
        assert guesses.probability[row] == pytest.approx(np.exp(logits.max()) / np.exp(logits).sum(), rel=1e-3)
