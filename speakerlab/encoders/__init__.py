"""Encoders: features `(batch, frames, dim)` and their lengths in, speaker embeddings `(batch, embed_dim)` out."""
