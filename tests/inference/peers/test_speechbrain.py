"""SpeechBrain's own ECAPA-TDNN against ours; needs the extra `references`."""

import sys

import pytest
import torch
from speakerlab.inference.speechbrain_weights import ecapa_weights

from speakerlab.build import build_network
from speakerlab.encoders.layers.statistics import VARIANCE_FLOOR


@pytest.fixture
def both(compose):
    """SpeechBrain's network of spkrec-ecapa-voxceleb with random weights, and ours with the same, for evaluation."""
    theirs = pytest.importorskip("speechbrain.lobes.models.ECAPA_TDNN", reason="SpeechBrain is not installed")
    torch.manual_seed(0)
    sizes = {"channels": [1024] * 4 + [3072], "kernel_sizes": [5, 3, 3, 3, 1], "dilations": [1, 2, 3, 4, 1]}
    reference = theirs.ECAPA_TDNN(80, lin_neurons=192, attention_channels=128, **sizes)
    with torch.no_grad():
        for module in reference.modules():
            if isinstance(module, torch.nn.BatchNorm1d):  # fresh ones would be the identity
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.2)
        reference.train()(torch.randn(8, 60, 80))
    network = build_network(compose("model=ecapa_speechbrain")[0])
    network.encoder.load_state_dict(ecapa_weights(reference.state_dict()))
    yield reference.eval(), network.encoder.eval()
    # Modules that it would import when they are first used, and can't: Hypothesis, in a later test, looks at all.
    for name in [name for name in sys.modules if name.partition(".")[0] == "speechbrain"]:
        del sys.modules[name]


@pytest.mark.parametrize("floor, tolerance", [(1e-12, 1e-4), (VARIANCE_FLOOR, 5e-6)])
@torch.inference_mode()
def test_embeddings_are_speechbrains(both, floor, tolerance):
    """To 1e-4 as SpeechBrain is; what differs is the floor of variances, which matters where a channel is constant."""
    reference, encoder = both
    reference.asp.eps = floor
    generator = torch.Generator().manual_seed(1)
    utterances = [torch.randn(frames, 80, generator=generator) for frames in (200, 31, 98)]
    expected = torch.cat([reference(utterance[None]).squeeze(1) for utterance in utterances])
    alone = torch.cat([encoder(utterance[None]) for utterance in utterances])
    assert expected.norm(dim=1).min() > 1  # or else 1e-4 would be a lot
    torch.testing.assert_close(alone, expected, atol=tolerance, rtol=0)
    # Theirs, given a padded batch, would convolve the padding.
    together = torch.nn.utils.rnn.pad_sequence(utterances, batch_first=True, padding_value=float("nan"))
    lengths = torch.tensor([len(utterance) for utterance in utterances])
    torch.testing.assert_close(encoder(together, lengths), expected, atol=tolerance, rtol=0)


def test_every_weight_has_a_place(both):
    reference, encoder = both
    for network in (reference, encoder):
        assert sum(parameter.numel() for parameter in network.parameters()) == 20_767_552
