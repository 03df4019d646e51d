"""Utterances of known answers, and the files that keep what was said of them."""

import csv

import numpy as np
import pytest
import soundfile
import torch
from tones import SPEAKERS, ToneNetwork, tone_loss, write_tones

from speakerlab.build import build_network
from speakerlab.data.manifest import file_of, speaker_classes
from speakerlab.data.utterances import utterances_of_rows
from speakerlab.inference.identification import keep_guesses, load_classifier, write_predictions
from speakerlab.inference.source import Results
from speakerlab.losses.aam import AamSoftmax
from speakerlab.network import classify
from speakerlab.scoring.identification import Guesses, guesses_of

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


def by_tones(table) -> tuple[Guesses, np.ndarray]:
    """What the network and loss of tones say of each row, and the true classes."""
    network, rows = ToneNetwork(), []
    for row in range(len(table)):
        wave = torch.from_numpy(soundfile.read(file_of(table, row), dtype="float32")[0])[None]
        rows.append(network(wave, torch.tensor([wave.shape[1]]))[0].numpy())
    classes = speaker_classes(table, SPEAKERS)
    return classify(tone_loss(), np.stack(rows), classes, len(SPEAKERS), torch.device("cpu")), classes


def predictions(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_of_every_row(table, tmp_path):
    guesses, _ = by_tones(table)
    names = table["utterance"].to_pylist()
    write_predictions(tmp_path / "scores" / "x.csv", names, table["speaker"].to_pylist(), guesses, SPEAKERS)
    rows = predictions(tmp_path / "scores" / "x.csv")
    assert list(rows[0]) == [
        *("utterance", "speaker", "rank", "predicted", "posterior", "predicted_2", "posterior_2"),
        *("predicted_3", "posterior_3", "predicted_4", "posterior_4", "predicted_5", "posterior_5"),
    ]
    assert [row["utterance"] for row in rows] == names
    assert [(row["speaker"], row["predicted"]) for row in rows] == [(name, f"s{tone}") for name, tone in HUMMED]
    assert [int(row["rank"]) for row in rows] == guesses.rank.tolist()
    for i, row in enumerate(rows):
        posteriors = [float(row[key]) for key in row if key.startswith("posterior")]
        assert posteriors == sorted(posteriors, reverse=True) and 0.5 < posteriors[0] <= 1 >= sum(posteriors) - 1e-5
        assert [row[key] for key in row if key.startswith("predicted")] == [f"s{one}" for one in guesses.first[i]]


def test_few_speakers_have_few_columns(tmp_path):
    guesses = guesses_of(np.array([[1.0, 0.0]]), [1])
    write_predictions(tmp_path / "x.csv", ["a, b"], ["t"], guesses, ["s", "t"])
    (row,) = predictions(tmp_path / "x.csv")
    assert list(row.values()) == ["a, b", "t", "2", "s", "0.731059", "t", "0.268941"]


def test_several_systems(table, tmp_path):
    guesses, classes = by_tones(table)
    results = Results(tmp_path, "some", None)
    utterances = utterances_of_rows(table)
    for systems in ({"model": guesses}, {"centroid": guesses, "neighbours": guesses}):
        metrics = keep_guesses(results, tmp_path / "x.ckpt", utterances, classes, SPEAKERS, systems)
        assert list(metrics) == list(systems) and metrics[next(iter(systems))]["accuracy"] == pytest.approx(4 / 7)
    names = sorted(path.name for path in (tmp_path / "scores").iterdir())
    assert names == [f"some_{name}predictions.csv" for name in ("centroid_", "neighbours_", "")]
    rows = predictions(tmp_path / "metrics" / "test_metrics.csv")
    assert [row["system"] for row in rows] == ["model", "centroid", "neighbours"]
    assert {row["trials"] for row in rows} == {"some"} and {row["utterances"] for row in rows} == {"7"}


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
    found, speakers = load_classifier(tmp_path / "best.ckpt", 8)
    assert speakers == SPEAKERS
    waves = [torch.from_numpy(soundfile.read(file_of(table, row), dtype="float32")[0])[None] for row in range(3)]
    with torch.inference_mode():
        rows = np.concatenate([network(wave, torch.tensor([wave.shape[1]])).numpy() for wave in waves])
    guesses = classify(found, rows, classes, len(SPEAKERS), torch.device("cpu"))
    for row, (name, samples) in enumerate(zip(table["path"].to_pylist(), table["samples"].to_pylist(), strict=True)):
        wave = torch.from_numpy(soundfile.read(tmp_path / "audio" / name, dtype="float32")[0])[None]
        with torch.inference_mode():
            logits = loss(network(wave, torch.tensor([samples])), torch.tensor([0]))[1][0, : len(SPEAKERS)].numpy()
        assert guesses.predicted[row] == logits.argmax()
        assert guesses.rank[row] == 1 + (logits > logits[classes[row]]).sum()
        assert guesses.probability[row] == pytest.approx(np.exp(logits.max()) / np.exp(logits).sum(), rel=1e-3)
