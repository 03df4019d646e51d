"""The callback on speakers whose right answer is known."""

from types import SimpleNamespace

import pytest
import torch
from tones import SPEAKERS, ToneNetwork, tone_loss, write_tones

from speakerlab.augment.recipe import Recipe
from speakerlab.data.corpus import Corpus
from speakerlab.data.recordings import AudioFiles
from speakerlab.data.samplers.random import RandomSampler
from speakerlab.training.datamodule import SpeakerDataModule
from speakerlab.training.identification import Identification

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
def test_recognition_is_measured(data, voices):
    data.trainer = SimpleNamespace(global_rank=0, world_size=1)
    module = SimpleNamespace(network=ToneNetwork().train(), loss=tone_loss(voices).train(), device=torch.device("cpu"))
    measured = Identification().measure(SimpleNamespace(datamodule=data, global_rank=0, world_size=1), module)
    assert measured["accuracy"] == pytest.approx(5 / 7) and measured["error_rate"] == pytest.approx(2 / 7)
    assert measured["macro_f1"] == pytest.approx(5 / 7) and measured["utterances"] == 7
    assert module.network.training and module.loss.training


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
