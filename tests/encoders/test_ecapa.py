from functools import partial

import pytest
import torch

from speakerlab.encoders.ecapa import Ecapa
from speakerlab.encoders.pooling.attentive_statistics import AttentiveStatistics

DIM = 8


def tiny(seed: int = 0, padding: str = "zero", final_norm: bool = True) -> Ecapa:
    """Kilobytes, in evaluation mode, with batch norms that have seen data (fresh ones would be the identity)."""
    torch.manual_seed(seed)
    pooling = partial(AttentiveStatistics, bottleneck=8)
    sizes = {"channels": 16, "embed_dim": 6, "pooled_channels": 24, "se_bottleneck": 8}
    encoder = Ecapa(DIM, pooling, **sizes, padding=padding, final_norm=final_norm)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None  # the statistics become those of the batches seen, in full
    encoder(2.0 * torch.randn(8, 40, DIM) + 0.5)
    return encoder.eval()


def features(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [2.0 * torch.randn(length, DIM, generator=generator) + 0.5 for length in lengths]


def padded(utterances: list[torch.Tensor], frames: int, fill: float = 0.0) -> torch.Tensor:
    batch = torch.full((len(utterances), frames, DIM), fill)
    for row, utterance in zip(batch, utterances, strict=True):
        row[: len(utterance)] = utterance
    return batch


@pytest.mark.parametrize("channels, parameters", [(512, 6_194_432), (1024, 14_660_800)])
def test_published_sizes(channels, parameters):
    with torch.device("meta"):
        encoder = Ecapa(80, AttentiveStatistics, channels=channels)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert encoder.embed_dim == 192


@pytest.mark.parametrize("masked", [True, False])
def test_every_parameter_learns(masked):
    encoder = tiny().train()
    embeddings = encoder(padded(features(30, 21, 9), 30), torch.tensor([30, 21, 9]) if masked else None)
    assert embeddings.shape == (3, 6)
    (embeddings * torch.randn(3, 6, generator=torch.Generator().manual_seed(2))).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # What only shifts the input of a batch norm in training, or of a softmax, can't have a gradient.
        if name not in ("pooling.score.bias", "project.bias"):
            assert parameter.grad.abs().max() > 1e-9, name


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
@pytest.mark.parametrize("frames", [33, 60])
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(frames, fill, padding):
    encoder, lengths = tiny(padding=padding), [33, 1, 17, 32, 5, 2]
    utterances = features(*lengths)
    together = encoder(padded(utterances, frames, fill), torch.tensor(lengths))
    alone = torch.cat([encoder(utterance[None]) for utterance in utterances])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    assert torch.pdist(alone).min() > 0.1  # or else everything is the same anyway


@torch.inference_mode()
def test_no_lengths_are_full_lengths():
    encoder, batch = tiny(), torch.stack(features(25, 25, 25))
    torch.testing.assert_close(encoder(batch), encoder(batch, torch.tensor([25, 25, 25])), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_order_of_frames_matters():
    encoder, (utterance,) = tiny(), features(30)
    assert (encoder(utterance[None]) - encoder(utterance.flip(0)[None])).abs().max() > 1e-3


@pytest.mark.parametrize("padding, mode", [("zero", "constant"), ("reflect", "reflect")])
@torch.inference_mode()
def test_blocks_are_the_papers(padding, mode):
    """Figure 2 and the multi-layer aggregation, spelled out with the encoder's own layers."""
    encoder, (utterance,) = tiny(padding=padding), features(30)

    def layer(x, part):  # convolution, ReLU, batch norm
        (kernel,), (dilation,) = part.conv.kernel_size, part.conv.dilation
        x = torch.nn.functional.pad(x, 2 * (dilation * (kernel - 1) // 2,), mode=mode)
        convolved = torch.nn.functional.conv1d(x, part.conv.weight, part.conv.bias, dilation=dilation)
        return part.norm(torch.relu(convolved))

    x = layer(utterance.T[None], encoder.stem)
    outputs = []
    for block, dilation in zip(encoder.blocks, (2, 3, 4), strict=True):
        hidden = layer(x, block.expand)
        groups = [hidden[:, 2 * i : 2 * i + 2] for i in range(8)]
        for i in range(1, 8):  # y1 = x1, y2 = K2(x2), yi = Ki(xi + y(i-1))
            assert block.res2.layers[i - 1].conv.dilation == (dilation,)
            groups[i] = layer(groups[i] if i == 1 else groups[i] + groups[i - 1], block.res2.layers[i - 1])
        hidden = layer(torch.cat(groups, dim=1), block.merge)
        x = x + block.se(hidden)
        outputs.append(x)
    expected = layer(torch.cat(outputs, dim=1), encoder.aggregate)
    torch.testing.assert_close(encoder.frame_level(utterance[None], None), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_the_final_norm_can_be_left_out():
    with_norm, without = tiny(), tiny(final_norm=False)
    without.load_state_dict({k: v for k, v in with_norm.state_dict().items() if not k.startswith("embedding_norm")})
    batch = torch.stack(features(25, 25))
    torch.testing.assert_close(with_norm.embedding_norm(without(batch)), with_norm(batch))


@torch.inference_mode()
def test_weights_survive_a_round_trip(tmp_path):
    first, second = tiny(seed=0), tiny(seed=1)
    batch = torch.stack(features(20, 20))
    assert not torch.allclose(first(batch), second(batch))
    torch.save(first.state_dict(), tmp_path / "weights.pt")
    second.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(first(batch), second(batch))


@pytest.mark.parametrize("channels, scale", [(20, 8), (16, 3)])
def test_channels_that_do_not_divide_are_refused(channels, scale):
    with pytest.raises(ValueError, match=f"channels={channels} must be a multiple of scale={scale}"):
        Ecapa(DIM, AttentiveStatistics, channels=channels, scale=scale)


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="padding=same must be zero or reflect"):
        tiny(padding="same")


def test_bfloat16_autocast():
    encoder, batch = tiny().train(), torch.stack(features(40, 40, 40, 40))
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = encoder(batch)
    embeddings.float().square().sum().backward()
    assert embeddings.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())
    encoder.eval()
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        rounded = encoder(batch).float()
    with torch.inference_mode():
        exact = encoder(batch)
    assert torch.cosine_similarity(rounded, exact).min() > 0.98
