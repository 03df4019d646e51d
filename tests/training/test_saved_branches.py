"""A fusion's training on saved embeddings: what is asked of the configuration and the model, and what it is dealt."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from speakerlab import InputError
from speakerlab.augment.recipe import Recipe
from speakerlab.data.corpora.embeddings import EmbeddingsCorpus
from speakerlab.data.corpus import Corpus
from speakerlab.data.embedding_files.branches import join
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.formats import write_embeddings
from speakerlab.data.samplers.hard_speakers import HardSpeakersSampler
from speakerlab.data.samplers.length_bucketed import LengthBucketedSampler
from speakerlab.data.samplers.random import RandomSampler
from speakerlab.data.samplers.speaker_balanced import SpeakerBalancedSampler
from speakerlab.data.samplers.speakers_x_utterances import SpeakersXUtterancesSampler
from speakerlab.encoders.pooling.mean import Mean
from speakerlab.encoders.sincnet import SincNet
from speakerlab.features.raw import Raw
from speakerlab.fusion.fusion import Fusion
from speakerlab.network import FusionNetwork, SpeakerNetwork, embed_batches, in_order
from speakerlab.training.datamodule import SpeakerDataModule
from speakerlab.training.saved_branches import in_order_of_branches, take_embeddings

SPEAKERS, EACH = 8, 6
NAMES = [f"s{i}/{j}.wav" for i in range(SPEAKERS) for j in range(EACH)]


class Concatenated(nn.Module):
    """The least that is asked of a fusion."""

    def __init__(self, **dims: int):
        super().__init__()
        self.branches = nn.ModuleDict({name: nn.Linear(dim, dim) for name, dim in dims.items()})
        for name, dim in dims.items():
            self.branches[name].embed_dim = dim
        self.embed_dim = sum(dims.values())

    def fuse(self, parts):
        return torch.cat(parts, dim=1)


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    """The last three speakers judge. The rows of `a` hold the utterance's number, those of `b` its negative."""
    for name, dim, sign in (("a", 4, 1), ("b", 3, -1)):
        rows = sign * np.arange(len(NAMES), dtype=np.float32)[:, None] * np.ones(dim)
        splits = ["train" if one < "s5" else "val" for one in NAMES]
        found = checked(NAMES, rows, "made", [one[:2] for one in NAMES], splits)
        write_embeddings(tmp_path / f"{name}.npz", found)
    branches = {"second": str(tmp_path / "b.npz"), "first": str(tmp_path / "a.npz")}
    return EmbeddingsCorpus(branches, None, None, "utterance", 2, 30, False, "verification", 1).load()


def config(*names: str, **ckpt: str):
    branches = {name: {"ckpt": ckpt.get(name)} for name in names}
    return OmegaConf.create({"model": {"branches": branches} if names else {"encoder": {}}})


def module(corpus: Corpus, sampler, crop_seconds: float | None = 2.0) -> SpeakerDataModule:
    return SpeakerDataModule(corpus, None, sampler, Recipe(), crop_seconds, 16000, 3, 1)


SAMPLERS = {
    "random": (RandomSampler(batch_size=8), 2.0),
    "speaker_balanced": (SpeakerBalancedSampler(batch_size=8), 2.0),
    "speakers_x_utterances": (SpeakersXUtterancesSampler(4, 2), 2.0),
    "hard_speakers": (HardSpeakersSampler(2, 2, 2, 1), 2.0),
    "length_bucketed": (LengthBucketedSampler(max_seconds=8.0, max_padding=0.1), None),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_deals_them_without_workers(corpus, name):
    corpus = in_order_of_branches(config("first", "second"), corpus, Recipe())
    data = module(corpus, *SAMPLERS[name])
    data.trainer = SimpleNamespace(global_rank=0, world_size=1)
    loader = data.train_dataloader()
    assert loader.num_workers == 0 and len(data.dataset) == 5 * EACH
    seen = []
    for batch in loader:
        first, second = batch["embeddings"]
        assert first.shape[1] == 4 and torch.equal(first[:, :1], -second[:, :1])
        assert (first[:, 0] // EACH).tolist() == batch["speaker"].tolist()
        seen += batch["utterance"].tolist()
    if name in ("random", "length_bucketed"):
        assert sorted(seen) == list(range(5 * EACH))
    assert seen != sorted(seen)


@pytest.mark.parametrize("world_size", [1, 2])
def test_development_utterances_are_fused(corpus, world_size):
    """Those of the trials, in their order, whichever rank fused them."""
    corpus = in_order_of_branches(config("first", "second"), corpus, Recipe())
    data, parts = module(corpus, RandomSampler(8)), []
    for rank in range(world_size):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size)
        batches = data.development_dataloader()
        parts.append(embed_batches(Concatenated(first=4, second=3), batches, torch.device("cpu")))
    ordered = in_order(torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]))
    numbers = [NAMES.index(name) for name in corpus.trials.utterances]
    assert ordered[:, 0].tolist() == numbers and ordered[:, 4].tolist() == [-number for number in numbers]


def test_validation_utterances_of_known_speakers(corpus, tmp_path):
    branches = [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]
    shares = {"train": 0.5, "val": 0.5}
    corpus = EmbeddingsCorpus(branches, None, shares, "utterance", 2, 30, False, "identification", 1).load()
    data = module(in_order_of_branches(config("first", "second"), corpus, Recipe()), RandomSampler(8))
    data.trainer = SimpleNamespace(global_rank=0, world_size=1)
    (batch,) = data.development_dataloader()
    names = corpus.validation["utterance"].to_pylist()
    assert batch["embeddings"][0][:, 0].tolist() == [NAMES.index(name) for name in names]
    assert [data.speakers[one] for one in data.validation_classes] == [name[:2] for name in names]


def test_sources_by_name_are_brought_into_the_models_order(corpus):
    assert corpus.saved.dims == [3, 4]
    assert in_order_of_branches(config("first", "second"), corpus, Recipe()).saved.dims == [4, 3]
    with pytest.raises(
        InputError, match=r"data\.branches is of second, first, but the model's branches are first, third"
    ):
        in_order_of_branches(config("first", "third"), corpus, Recipe())


def test_what_needs_audio_is_refused(corpus):
    with pytest.raises(InputError, match=r"data\.branches: several sources are for a fusion of them: add model=fusion"):
        in_order_of_branches(config(), corpus, Recipe())
    speed = replace(Recipe(), speed_perturbation=SimpleNamespace(suffixes=("", "x")))
    with pytest.raises(InputError, match="augment changes sound, and data=embeddings has none: set augment=none"):
        in_order_of_branches(config("first", "second"), corpus, speed)


def test_one_network_alone_takes_its_own_embeddings(corpus):
    one = replace(corpus, saved=join(corpus.saved.sources[:1]))
    assert in_order_of_branches(config(), one, Recipe()).saved.dims == [3]


def test_weights_of_another_checkpoint_than_the_embeddings_are_refused(corpus, tmp_path):
    """Named in whatever way; `best.ckpt` and `last.ckpt` may be one file."""
    for name in ("best.ckpt", "other.ckpt"):
        (tmp_path / name).touch()
    (tmp_path / "last.ckpt").hardlink_to(tmp_path / "best.ckpt")
    sources = [replace(one, checkpoint=str(tmp_path / "best.ckpt")) for one in corpus.saved.sources]
    corpus = replace(corpus, saved=join(sources, ["second", "first"]))
    for good in (tmp_path / "best.ckpt", tmp_path / "last.ckpt", tmp_path / "x" / ".." / "best.ckpt"):
        (tmp_path / "x").mkdir(exist_ok=True)
        in_order_of_branches(config("first", "second", first=str(good)), corpus, Recipe())
    for bad in ("other.ckpt", "gone.ckpt"):
        with pytest.raises(InputError, match=rf"branches\.first\.ckpt=.*{bad}: the embeddings in .*a\.npz are of"):
            in_order_of_branches(config("first", "second", first=str(tmp_path / bad)), corpus, Recipe())


def test_sizes_are_the_models_and_its_branches_stay(corpus):
    saved = in_order_of_branches(config("first", "second"), corpus, Recipe()).saved
    network = Concatenated(first=4, second=3)
    take_embeddings(network, saved, [])
    assert not any(parameter.requires_grad for parameter in network.branches.parameters())
    with pytest.raises(InputError, match=r"b\.npz: its embeddings have 3 numbers, but those .* branch second 256"):
        take_embeddings(Concatenated(first=4, second=256), saved, [])
    known = join([replace(one, checkpoint="/runs/x.ckpt") for one in saved.sources])
    for untrained, end in (
        ([], r"second 256$"),
        (["second"], r"second 256; add model\.branches\.second\.ckpt=/runs/x\.ckpt$"),
    ):
        with pytest.raises(InputError, match=end):
            take_embeddings(Concatenated(first=4, second=256), known, untrained)


def test_branches_that_get_no_weights_keep_none(corpus):
    saved = in_order_of_branches(config("first", "second"), corpus, Recipe()).saved
    branches = {
        name: SpeakerNetwork(Raw(), SincNet(1, Mean, hidden=dim)) for name, dim in (("first", 4), ("second", 3))
    }
    network = FusionNetwork(branches, Fusion([4, 3], embed_dim=2))
    whole = network.state_dict()
    take_embeddings(network, saved, ["second"])
    assert whole.keys() - network.state_dict().keys() == {key for key in whole if key.startswith("branches.second.")}
    network.eval()
    rows = [torch.ones(5, 4), torch.ones(5, 3)]
    assert network.fuse(rows).shape == (5, 2)
    with pytest.raises(InputError, match="its saved embeddings alone"):
        network(torch.zeros(1, 8000))
