"""Scoring: trial lists and embeddings in, scores and their error rates out; NumPy only, no torch at module level."""
