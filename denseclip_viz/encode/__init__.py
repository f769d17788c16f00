"""Everything that touches CLIP."""
