"""Model names, checkpoints and tokenizers, opened."""
