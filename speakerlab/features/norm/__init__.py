"""Normalisation of features: one a file.

`forward(features, lengths)` maps `(batch, frames, dim)` or `(batch, channels, frames, dim)` to the same shape, looking
at each item's own frames alone; `lengths` are frame counts `(batch,)`, or None where nothing is padded. One that wants
to know `dim` or `channels` takes them as constructor arguments. One with statistics of the training set keeps them in
buffers that `fit(batches)` sets, where `batches` yields features of unpadded items.
"""
