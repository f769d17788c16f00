"""Explorers: the canvas with the controls that need the model."""
