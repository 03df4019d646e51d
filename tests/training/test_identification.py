"""The callback on speakers whose right answer is known."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from tones import SPEAKERS, ToneNetwork, tone_loss, write_tones

from speakerlab.augment.recipe import Recipe
from speakerlab.data.corpus import Corpus
from speakerlab.data.development import MEASURED
from speakerlab.data.recordings import AudioFiles
from speakerlab.data.samplers.random import RandomSampler
from speakerlab.training.datamodule import SpeakerDataModule
from speakerlab.training.identification import Identification, write_confusion

# Two of seven hum another's tone: 5 of 7 are recognised.
HUMMED = [0, 2, 1, 3, 4, 5, 6]


@pytest.fixture
def data(tmp_path):
    train = write_tones(tmp_path / "train", [(speaker, i) for i, speaker in enumerate(SPEAKERS)])
    validation = write_tones(tmp_path / "val", [(SPEAKERS[i], tone) for i, tone in enumerate(HUMMED)][::-1])
    corpus = Corpus(train, None, [], validation=validation)
    sampler = RandomSampler(batch_size=2, crops_per_utterance=1)
    return SpeakerDataModule(corpus, AudioFiles(train, 16000), sampler, Recipe(), 0.5, 16000, 0, 1)


@pytest.mark.parametrize("voices", [1, 3])
def test_recognition_is_measured(data, tmp_path, voices):
    data.trainer = SimpleNamespace(global_rank=0, world_size=1)
    module = SimpleNamespace(network=ToneNetwork().train(), loss=tone_loss(voices).train(), device=torch.device("cpu"))
    place = {"default_root_dir": str(tmp_path), "current_epoch": 3, "global_step": 9}
    trainer = SimpleNamespace(datamodule=data, global_rank=0, world_size=1, is_global_zero=True, **place)
    measured = Identification().measure(trainer, module)
    assert measured["accuracy"] == pytest.approx(5 / 7) and measured["error_rate"] == pytest.approx(2 / 7)
    assert measured["macro_f1"] == pytest.approx(5 / 7) and measured["utterances"] == 7
    assert module.network.training and module.loss.training
    with np.load(tmp_path / MEASURED) as kept:
        assert (kept["rank"] == 1).sum() == 5 and (kept["epoch"], kept["step"]) == (4, 9)
        assert kept["names"].tolist() == data.speakers and (kept["classes"] == data.validation_classes).all()
        assert kept["embeddings"].shape[0] == len(kept["rows"]) == len(kept["predicted"]) == 7


def test_the_confusion_matrix_of_each_epoch_is_kept_and_cut_back(data, tmp_path):
    """Against scikit-learn's, cell by cell; what a killed run wrote after its checkpoint goes."""
    names, path = data.speakers, tmp_path / "metrics" / "confusion.csv"
    truth = np.array([0, 0, 0, 1, 2, 2, 6])
    said = {4: np.array([0, 0, 3, 1, 1, 1, 6]), 8: truth}
    for step, predicted in said.items():
        trainer = SimpleNamespace(default_root_dir=str(tmp_path), current_epoch=step // 4 - 1, global_step=step)
        write_confusion(trainer, truth, predicted, names)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for step, predicted in said.items():
        found = np.zeros((7, 7), int)
        for row in rows:
            if int(row["step"]) == step:
                assert int(row["epoch"]) == step // 4
                found[names.index(row["speaker"]), names.index(row["named"])] = row["utterances"]
        assert (found == confusion_matrix(truth, predicted, labels=range(7))).all()

    resumed = {"is_global_zero": True, "global_step": 4, "default_root_dir": str(tmp_path)}
    Identification().on_train_start(SimpleNamespace(**resumed), None)
    with open(path, newline="") as file:
        assert list(csv.DictReader(file)) == [row for row in rows if row["step"] == "4"]


@pytest.mark.parametrize("world_size", [2, 5])
def test_ranks_share_the_utterances(data, world_size):
    """As many batches as there are ranks or fewer: the last ranks may have none."""
    data.development_seconds[:] = 100.0  # a batch each
    seen = []
    for rank in range(world_size):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size)
        seen += [int(i) for batch in data.development_dataloader() for i in batch["utterance"]]
    assert sorted(seen) == list(range(7))


def test_bad_intervals_are_refused():
    with pytest.raises(ValueError, match="every_n_epochs=-1 must be at least 0"):
        Identification(every_n_epochs=-1)
