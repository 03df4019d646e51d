"""Augmentations of training audio: one waveform or spectrum transform a file.

An augmentation has two halves, so that what happens to an item depends on the item's seed alone, never on the worker,
the rank or its batch mates, and so that the arithmetic runs on the device:

- `draw(generator, samples) -> dict[str, np.ndarray]` runs in a data worker for one item. It draws every random
  parameter and reads whatever files it needs (a noise crop of `samples` samples, a room response). All values are
  float32 arrays. Keys and shapes are the same whether or not the augmentation applies, so items collate by stacking;
  an item that is spared gets `neutral(samples)` (zero noise at infinite SNR, a unit impulse, masks of width 0).
- `apply(x, drawn) -> x` runs on the whole batch, on its device. `x` is `(batch, samples)` for a waveform transform and
  `(batch, frames, dim)` or `(batch, channels, frames, dim)` for a spectrum transform; `drawn` holds the same keys, each
  with a leading batch axis. It computes in float32 whatever the autocast around it, loops over no items and never waits
  for the device.

`Chain` orders named augmentations and has the same two halves, except that its `draw` takes the item's seed and gives
each augmentation a generator of its own. Files are decoded by a function that is handed in, since `augment` imports no
other part of speakerlab. Objects are picklable (spawned workers) as long as that function is.

What a device can't do (a codec) is a `Recording`: it changes one item's samples in the worker. Speed perturbation and
mixup, which change the label too, stand apart in `Recipe`.

Sums may leave [-1, 1]: nothing is clipped or rescaled for it, because clipping would distort and features take floats.
"""
