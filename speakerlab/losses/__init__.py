"""Losses: `(embeddings, speakers) -> (loss, margin-free logits or None)`."""
