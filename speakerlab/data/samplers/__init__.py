"""Which utterances make up an epoch's batches: one strategy a file.

A sampler holds settings alone. `batches(items, seed, epoch)` gives the epoch's global batches, the same on every rank
and after every resume; `speakerlab.data.batches.EpochBatches` deals them out.
"""
