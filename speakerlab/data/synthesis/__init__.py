"""Synthetic voices: a source-filter synthesiser, and the layout of the corpus `mini` that it fills."""
