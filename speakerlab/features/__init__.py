"""Waveforms to features: one kind a file, batched, on the device.

A feature has `dim` (values a frame), `channels` (1 where it has no channel axis) and `forward(waveform, lengths)`, from
`(batch, samples)` and sample counts `(batch,)` or None to `(batch, [channels,] frames, dim)` and frame counts or None.
One whose values are natural logarithms of energies says so by `log_energies`, one whose frames need not be 10 ms apart
has `shift_ms`.

`FeaturePipeline` runs it in float32 whatever the precision around it, and does what is common to all: derivatives,
normalisation, a fixed number of frames, an image. Frames beyond an item's own may hold anything.
"""
