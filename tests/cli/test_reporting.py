"""What is added to results before they are reported, with networks that were never trained."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from speakerlab.build import build_network
from speakerlab.cli.launch import compose
from speakerlab.cli.reporting import about, hear, hear_mistakes
from speakerlab.data.trials import locate_utterances, read_trials
from speakerlab.inference.crops import CroppedNetwork
from speakerlab.inference.source import Source
from speakerlab.reports.evaluation import Verification
from speakerlab.scoring.metrics import verification_metrics


@pytest.fixture
def found(folders) -> Verification:
    trials = read_trials(folders.trials)
    scores = np.random.default_rng(0).normal(size=len(trials))
    metrics = verification_metrics(scores, trials.labels)
    files = locate_utterances(trials, [folders.development])
    return Verification("list", trials, {"m": scores}, {"m": metrics}, files=files)


def network(*overrides: str):
    torch.manual_seed(0)
    return build_network(compose("train", list(overrides))[0]).eval()


def test_the_worst_mistakes_are_listened_to(found, tiny):
    small = [one for one in tiny if one.startswith(("model.", "features.", "pooling."))]
    heard = hear_mistakes(network("model=ecapa", *small), 16000, found)
    scores, labels = found.scores["m"], found.trials.labels
    accept = int(np.argmax(np.where(labels == 0, scores, -np.inf)))
    assert heard[0].name.endswith(found.trials.utterances[found.trials.enrol[accept]])
    assert 2 <= len(heard) <= 4 and all(one.seconds == pytest.approx(1.0, abs=0.05) for one in heard)


def test_models_without_attention_are_not(found):
    assert hear_mistakes(network("model=resnet18", "model.encoder.embed_dim=8"), 16000, found) == []
    assert hear_mistakes(None, 16000, found) == []


def test_long_utterances_are_heard_from_their_start(found, tiny):
    small = [one for one in tiny if one.startswith(("model.", "features.", "pooling."))]
    (heard,) = hear(network("model=ecapa", *small), found.files[:1], 16000, most_seconds=0.5)
    assert len(heard.waveform) == 8000 and heard.seconds == pytest.approx(0.5, abs=0.05)


def test_crops_are_heard_by_the_network_within(found, tiny):
    small = [one for one in tiny if one.startswith(("model.", "features.", "pooling."))]
    inner = network("model=ecapa", *small)
    cropped = CroppedNetwork(inner, 3, 4000, 16000, whole=True)
    names = [one.name for one in hear_mistakes(cropped, 16000, found)]
    assert names == [one.name for one in hear_mistakes(inner, 16000, found)] != []


def test_how_it_was_done(tmp_path):
    checkpoint = tmp_path / "best.ckpt"
    torch.save({"config": {"seed": 3}, "speakers": [], "state_dict": {}, "epoch": 3, "global_step": 1234}, checkpoint)
    cfg, devices = OmegaConf.create({"device": "cpu"}), [torch.device("cpu")]
    said = about(cfg, Source(checkpoint, checkpoint, {}, devices))
    assert said["step"] == 1234 and said["facts"]["trained"] == "4 epochs, 1,234 steps"
    assert said["facts"]["evaluated"] == checkpoint and said["facts"]["computed on"] == "cpu"
    assert "device: cpu" in said["texts"]["Configuration of the evaluation"]
    assert said["texts"]["Configuration of the model"] == "seed: 3\n" and "torch" in said["texts"]["Versions"]
    saved = about(cfg, Source(tmp_path / "saved.npz", None, {}, devices))
    assert "trained" not in saved["facts"] and "Configuration of the model" not in saved["texts"]
    assert "evaluated" not in about(cfg, None)["facts"]
