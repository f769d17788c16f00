"""Pure functions on what was recorded."""
