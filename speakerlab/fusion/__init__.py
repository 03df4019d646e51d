"""Embeddings of several branches become one.

A way to fuse is an `nn.Module` with `forward(flat, parts, present) -> (fused, weights)`: `flat` `(batch, dims)` the
branches' normalised embeddings side by side, `parts` `(batch, branches, embed_dim)` their projections to one size,
`present` `(batch, branches)` bool which of them are there; those that are not are zeros in both. `fused` is
`(batch, embed_dim)`, and `weights` `(batch, branches)` or `(batch, branches, embed_dim)` sum to one over the present
branches, or are None of a way that weighs none.
"""
