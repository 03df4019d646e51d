"""Features: waveforms `(batch, samples)` in, `(batch, frames, dim)` or `(batch, channels, frames, dim)` out."""
