"""Pooling over time: one a file, and any encoder takes any.

A pooling is built with the `channels` of its input, has `out_dim`, and maps `(batch, channels, frames)` and a frame
mask `(batch, 1, frames)` or None to `(batch, out_dim)`. Those that weigh frames have `attention(x, mask)`, which gives
the weights that `forward` uses, `(batch, weightings, frames)`: one weighting for each channel, or for each head and
query, summing to one over each item's own frames. Statistics are computed in float32.
"""
