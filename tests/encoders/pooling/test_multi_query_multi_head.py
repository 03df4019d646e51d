"""Against a loop over items, heads, queries and frames."""

import pytest
import torch

from speakerlab.encoders.layers.masking import frame_mask
from speakerlab.encoders.pooling.multi_query_multi_head import MultiQueryMultiHead

CHANNELS, FRAMES, BOTTLENECK = 12, 9, 5


def naive(pooling: MultiQueryMultiHead, x: torch.Tensor) -> torch.Tensor:
    """One item `(channels, frames)`, in float64."""
    width, parts = CHANNELS // pooling.heads, []
    hidden, hidden_bias = pooling.hidden.weight.double()[..., 0], pooling.hidden.bias.double()
    score, score_bias = pooling.score.weight.double()[..., 0], pooling.score.bias.double()
    for head in range(pooling.heads):
        own = x[head * width : (head + 1) * width].double()
        for query in range(pooling.queries):
            number = head * pooling.queries + query
            rows = slice(number * BOTTLENECK, (number + 1) * BOTTLENECK)
            hiddens = [torch.tanh(hidden[rows] @ frame + hidden_bias[rows]) for frame in own.T]
            scores = torch.stack([score[number] @ values + score_bias[number] for values in hiddens])
            weights = scores.exp() / scores.exp().sum()
            mean = sum(weight * frame for weight, frame in zip(weights, own.T, strict=True))
            parts.append(mean)
            if pooling.deviation:
                square = sum(weight * (frame - mean) ** 2 for weight, frame in zip(weights, own.T, strict=True))
                parts.append(square.clamp(min=1e-7).sqrt())
    return torch.cat(parts)


@torch.inference_mode()
@pytest.mark.parametrize("heads, queries, deviation", [(1, 1, False), (4, 1, True), (3, 2, True)])
@pytest.mark.parametrize("lengths", [None, [9, 1, 4]])
def test_a_loop(heads, queries, deviation, lengths):
    torch.manual_seed(0)
    pooling = MultiQueryMultiHead(CHANNELS, heads, queries, BOTTLENECK, deviation)
    pooling.score.weight.mul_(10.0)  # so that attention is far from uniform
    x = torch.randn(3, CHANNELS, FRAMES)
    mask = None if lengths is None else frame_mask(torch.tensor(lengths), FRAMES)
    if lengths is not None:
        x = x.masked_fill(~mask, float("nan"))
    pooled, weights = pooling(x, mask), pooling.attention(x, mask)
    assert pooled.shape == (3, pooling.out_dim) and weights.shape == (3, heads * queries, FRAMES)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, heads * queries))
    for row, length in enumerate(lengths or [FRAMES] * 3):
        torch.testing.assert_close(pooled[row].double(), naive(pooling, x[row, :, :length]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "settings, message", [({"heads": 5}, "heads=5 must divide the 12"), ({"queries": 0}, "queries=0")]
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MultiQueryMultiHead(CHANNELS, **settings)
