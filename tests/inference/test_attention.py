"""The weights that are drawn are those that the embedding was pooled with."""

import numpy as np
import pytest
import torch

from speakerlab import InputError
from speakerlab.build import build_network
from speakerlab.cli.launch import compose
from speakerlab.inference.attention import attend, attentive_branch, attentive_pooling

SMALL = [
    "model.encoder.channels=16",
    "model.encoder.pooled_channels=24",
    "model.encoder.embed_dim=8",
    "model.encoder.se_bottleneck=8",
]
ECAPA = ["model=ecapa", *SMALL]


def network(*overrides: str):
    torch.manual_seed(0)
    return build_network(compose("train", list(overrides))[0]).eval()


def noise(seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16000)).astype(np.float32)


@pytest.mark.parametrize("pooling, weightings", [("attentive_statistics_global", 24), ("multi_query", 16)])
def test_the_pooling_used_these_weights(pooling, weightings):
    made = network("model=ecapa", f"pooling={pooling}", *SMALL)
    seen = []
    made.encoder.pooling.register_forward_hook(lambda module, inputs, output: seen.append((*inputs, output)))
    attention = attend(made, noise(1.0), 16000)
    (x, mask, pooled), *_ = seen
    assert mask is None and attention.weights.shape == (weightings, 98)
    np.testing.assert_allclose(attention.weights.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(attention.relative.mean(axis=1), 1.0, rtol=1e-5)
    if weightings == 24:  # a weighting a channel: the first half of what is pooled is the weighted means
        means = (attention.weights * x[0].numpy()).sum(axis=1)
        np.testing.assert_allclose(pooled[0, :24].numpy(), means, atol=1e-5)
    assert attention.spectrogram.shape == (98, 64)
    assert attention.seconds == pytest.approx(0.98)
    assert not made.encoder.pooling._forward_pre_hooks


def test_a_network_that_takes_a_part_shows_that_part():
    """The spectrogram is cut and repeated as the network's features are."""
    made = network("model=mel_cnn", "pooling=self_attentive")
    long, short = attend(made, noise(5.0), 16000), attend(made, noise(1.0), 16000)
    assert long.spectrogram.shape == short.spectrogram.shape == (300, 64)
    assert long.seconds == short.seconds == pytest.approx(3.0)
    whole = attend(network("model=ecapa", *SMALL), noise(5.0), 16000).spectrogram  # 498 frames
    np.testing.assert_array_equal(long.spectrogram, whole[99:399])
    np.testing.assert_array_equal(short.spectrogram[98:196], short.spectrogram[:98])


def test_the_branch_of_a_fusion_that_weighs_frames():
    made = network("model=fusion", f"model.branches={{a: {{overrides: [model=mel_cnn]}}, b: {{overrides: {ECAPA}}}}}")
    assert attentive_branch(made) is attentive_branch(made, "b") is made.branches["b"]
    alone = attend(made.branches["b"], noise(1.0), 16000)
    assert alone.weights.shape == (24, 98)
    for name, message in (("a", "MelCnn pools by Statistics"), ("c", "no branch c: there are a, b")):
        with pytest.raises(InputError, match=message):
            attentive_branch(made, name)
    single = network(*ECAPA)
    assert attentive_branch(single) is single
    with pytest.raises(InputError, match="no branch b: this is no fusion"):
        attentive_branch(single, "b")


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["model=ecapa", "pooling=statistics", *SMALL], "Ecapa pools by Statistics, which weighs no frames"),
        (["model=sincnet", "model.encoder.hidden=8"], "SincNet pools by Mean, which weighs no frames"),
        (["model=eres2net", "model.encoder.channels=8"], "ERes2Net pools by Statistics"),  # `attention` is a submodule
    ],
)
def test_a_network_without_attention_is_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        attentive_pooling(network(*overrides))


def test_a_network_without_pooling_is_refused():
    made = network("model=ecapa", *SMALL)
    made.encoder.pooling = None  # as an encoder of the user's own may have none
    with pytest.raises(InputError, match="Ecapa has no pooling over time"):
        attentive_pooling(made)


def test_sincnets_chunks_are_weighed():
    made = network("model=sincnet", "model.encoder.hidden=8", "pooling=self_attentive")
    found = attend(made, noise(1.0), 16000)
    assert found.weights.shape == (1, 10)  # one every 100 ms
    assert found.weights[0, 9] == 0 and abs(found.weights.sum() - 1) < 1e-5  # the last has no whole chunk
