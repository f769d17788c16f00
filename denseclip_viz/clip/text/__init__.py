"""Texts as vectors: tokenised, encoded without padding, kept."""
