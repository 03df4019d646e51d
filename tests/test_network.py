import copy

import numpy as np
import pytest
import torch
from torch import nn

from speakerlab import InputError
from speakerlab.data.utterances import pad_utterances
from speakerlab.encoders.ecapa import Ecapa
from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.features.fbank import Fbank
from speakerlab.features.raw import Raw
from speakerlab.fusion.fusion import Fusion
from speakerlab.losses.decision_mlp import DecisionMlp
from speakerlab.losses.pair_mlp import PairMlp
from speakerlab.losses.weighted_sum import WeightedSum
from speakerlab.network import FusionNetwork, SpeakerNetwork, classify, embed_batches, in_order

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> SpeakerNetwork:
    """Kilobytes, in training mode, with batch norms that have seen data."""
    torch.manual_seed(0)
    encoder = Ecapa(8, Statistics, channels=16, embed_dim=6, pooled_channels=24, se_bottleneck=8)
    network = SpeakerNetwork(Fbank(8), encoder)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = None  # the statistics become those of the batches seen, in full
    network(pad_utterances(utterances(*[8000] * 16))["waveform"])
    return network


def utterances(*lengths: int) -> list[tuple[int, np.ndarray]]:
    generator = np.random.default_rng(0)
    tones = [np.sin(np.arange(n) * generator.uniform(0.02, 0.5)) + 0.1 * generator.standard_normal(n) for n in lengths]
    return [(index, (0.3 * tone).astype(np.float32)) for index, tone in enumerate(tones)]


def test_it_is_features_then_encoder(network):
    network.eval()
    batch = pad_utterances(utterances(4000, 6000))
    features, frames = network.features(batch["waveform"], batch["length"])
    assert frames.tolist() == [23, 36] and network.embed_dim == 6
    expected = network.encoder(features, frames)
    assert torch.equal(network(batch["waveform"], batch["length"]), expected)
    torch.testing.assert_close(network(batch["waveform"][1:]), expected[1:], atol=1e-4, rtol=0)


class Mean(nn.Module):
    """Of each dimension over the frames."""

    def __init__(self, dim: int):
        super().__init__()
        self.embed_dim = dim

    def forward(self, features, lengths=None):
        if lengths is None:
            return features.mean(dim=1)
        inside = torch.arange(features.shape[1]) < lengths[:, None]
        return (features * inside[:, :, None]).sum(dim=1) / lengths[:, None]


@pytest.fixture(scope="module")
def fused() -> FusionNetwork:
    """Of two networks with other features and sizes, in evaluation mode."""
    torch.manual_seed(1)
    branches = {"mel": SpeakerNetwork(Fbank(8), Mean(8)), "wave": SpeakerNetwork(Raw(), Mean(1))}
    fusion = Fusion([8, 1], "softmax", embed_dim=4, norm="none")
    nn.init.normal_(fusion.combine.gate.weight)
    return FusionNetwork(branches, fusion).eval()


def test_a_fusion_is_the_fusion_of_its_branches(fused):
    batch = pad_utterances(utterances(4000, 6000))
    given = batch["waveform"], batch["length"]
    parts = [branch(*given) for branch in fused.branches.values()]
    assert list(fused.branches) == ["mel", "wave"] and [part.shape[1] for part in parts] == [8, 1]
    assert fused.embed_dim == 4 and torch.equal(fused(*given), fused.fusion(parts))
    assert torch.equal(fused.fuse([None, parts[1]]), fused.fusion([None, parts[1]]))
    _, rows = embed_batches(fused, [batch], CPU)
    torch.testing.assert_close(rows, fused(*given).detach())


def test_both_kinds_of_network_are_handled_alike(network, fused):
    network.eval()
    x = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    for one in (network, fused):
        assert torch.equal(one.fuse([branch(x) for branch in one.branches.values()]), one(x))
    assert dict(network.branches) == {"": network} and network.encoders == [network.encoder]
    assert fused.encoders == [*(branch.encoder for branch in fused.branches.values()), fused.fusion]
    assert [name for name, _ in fused.named_children()] == ["branches", "fusion"]
    assert [name for name, _ in network.named_children()] == ["features", "encoder"]


def test_a_change_is_of_the_features_of_each_branch(network, fused):
    network.eval()
    x = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    features, _ = network.features(x)
    assert torch.equal(network(x, None, lambda one: 2 * one), network.encoder(2 * features))
    seen = []
    found = fused(x, None, lambda one: seen.append(one.shape) or torch.zeros_like(one))
    assert seen == [(2, 23, 8), (2, 4000, 1)]
    assert torch.equal(found, fused.fuse([torch.zeros(2, 8), torch.zeros(2, 1)]))


@pytest.mark.parametrize("kind", ["single", "fused"])
def test_compiled_encoders_are_for_training_alone(kind, network, fused, monkeypatch):
    """And add nothing to what is saved, nor to a copy's links to its own weights."""
    made = copy.deepcopy({"single": network, "fused": fused}[kind])
    called, before = [], list(made.state_dict())

    def compiled(function):
        return lambda *inputs: called.append(function.__self__) or function(*inputs)

    monkeypatch.setattr(torch, "compile", compiled)
    made.compile_encoders()
    x = torch.randn(4, 4000, generator=torch.Generator().manual_seed(0))
    made.eval()(x)
    assert not called and list(made.state_dict()) == before
    made.train()(x)
    assert called == [branch.encoder for branch in made.branches.values()]


@pytest.mark.parametrize("training", [True, False])
def test_batches_give_what_each_utterance_gives_alone_and_leave_no_trace(network, training):
    items = utterances(9000, 4000, 6123, 1600, 12345, 2000, 5999)
    before = {name: value.clone() for name, value in network.train(training).state_dict().items()}
    batches = [pad_utterances([items[i] for i in chosen]) for chosen in ([4, 0, 2], [6], [1, 5, 3])]
    indices, embeddings = embed_batches(network, batches, CPU)
    assert indices.tolist() == [4, 0, 2, 6, 1, 5, 3]
    assert all(module.training == training for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    ordered = in_order(indices, embeddings)
    assert ordered.shape == (7, 6) and ordered.dtype == np.float32
    network.eval()
    with torch.inference_mode():
        alone = [network(torch.from_numpy(waveform)[None])[0].numpy() for _, waveform in items]
    np.testing.assert_allclose(ordered, np.stack(alone), atol=1e-4)
    distances = np.linalg.norm(ordered[:, None] - ordered, axis=-1)
    assert distances[np.triu_indices(7, 1)].min() > 0.1  # the order would show


def test_autocast_around_it_does_not_matter(network):
    batches = [pad_utterances(utterances(6000, 4000))]
    _, expected = embed_batches(network, batches, CPU)
    with torch.autocast("cpu", torch.bfloat16):
        _, embeddings = embed_batches(network, batches, CPU)
    assert torch.equal(embeddings, expected) and embeddings.dtype == torch.float32
    assert not embeddings.requires_grad


def test_the_mode_comes_back_after_an_error(network):
    network.train()
    with pytest.raises(ValueError, match="shorter than one frame"):
        embed_batches(network, [pad_utterances(utterances(100))], CPU)
    assert network.training


def test_a_rank_without_utterances(network):
    indices, embeddings = embed_batches(network, [], CPU)
    assert indices.shape == (0,) and indices.dtype == torch.int64
    assert embeddings.shape == (0, 6)


def test_in_order():
    embeddings = torch.arange(12.0).reshape(4, 3)
    ordered = in_order(torch.tensor([2, 0, 3, 1]), embeddings)
    assert ordered.tolist() == [[3, 4, 5], [9, 10, 11], [0, 1, 2], [6, 7, 8]]


def test_float16_weights_still_give_float32():
    class Half(nn.Module):
        embed_dim = 2

        def forward(self, waveform, lengths):
            return waveform[:, :2].half()

    _, embeddings = embed_batches(Half(), [pad_utterances(utterances(100))], CPU)
    assert embeddings.dtype == torch.float32


def test_classification_is_the_losses_logits_in_evaluation_mode():
    """Of a loss that answers otherwise while it trains, and knows more voices than speakers."""

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.9)

        def forward(self, embeddings, speakers):
            assert not torch.is_grad_enabled() and embeddings.dtype == torch.float32
            return torch.tensor(0.0), self.dropout(torch.cat([embeddings, embeddings + 9], dim=1))

    embeddings = np.random.default_rng(0).standard_normal((2500, 7)).astype(np.float32)
    speakers, loss = np.arange(2500) % 7, Noisy().train()
    with torch.autocast("cpu", torch.bfloat16):
        guesses = classify(loss, embeddings, speakers, 7, CPU)
    assert guesses.predicted.tolist() == embeddings.argmax(1).tolist()
    assert guesses.rank.tolist() == (embeddings >= embeddings[np.arange(2500), speakers][:, None]).sum(1).tolist()
    assert loss.training and loss.dropout.training


def test_a_loss_without_logits_names_nobody():
    class Metric(nn.Module):
        def forward(self, embeddings, speakers):
            return embeddings.sum(), None

    with pytest.raises(InputError, match="the loss Metric gives no logits to identify speakers by"):
        classify(Metric(), np.zeros((2, 3), np.float32), np.zeros(2, int), 2, CPU)


def test_saved_embeddings_of_branches_are_fused_in_place_of_audio():
    class Fusion(nn.Module):
        embed_dim = 2

        def fuse(self, parts):
            assert not self.training and not torch.is_autocast_enabled("cpu")
            return torch.stack([part.sum(dim=1) for part in parts], dim=1).double()

    batches = [
        {"embeddings": [torch.ones(2, 3), torch.full((2, 5), 2.0)], "utterance": torch.tensor([2, 0])},
        {"embeddings": [torch.zeros(1, 3), torch.ones(1, 5)], "utterance": torch.tensor([1])},
    ]
    with torch.autocast("cpu", torch.bfloat16):
        ordered = in_order(*embed_batches(Fusion().train(), batches, CPU))
    assert ordered.tolist() == [[3, 10], [0, 5], [3, 10]] and ordered.dtype == np.float32


def test_a_sum_with_a_loss_for_pairs_names_speakers_of_any_utterances():
    """One utterance alone, which is no pair."""
    torch.manual_seed(0)
    decision = DecisionMlp(7, 4).eval()
    both = WeightedSum({"pairs": PairMlp(7, 4), "decision": decision}, {"pairs": 1.0, "decision": 1.0})
    embeddings = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    speakers = np.array([3, 0, 1, 1, 2])
    expected = decision(torch.from_numpy(embeddings), torch.from_numpy(speakers))[1].argmax(dim=1)
    assert classify(both, embeddings, speakers, 4, CPU).predicted.tolist() == expected.tolist()
    assert classify(both, embeddings[:1], speakers[:1], 4, CPU).predicted.tolist() == expected[:1].tolist()
    with pytest.raises(InputError, match="the loss PairMlp gives no logits to identify speakers by"):
        classify(PairMlp(7, 4), embeddings, speakers, 4, CPU)
