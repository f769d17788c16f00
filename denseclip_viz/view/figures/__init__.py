"""The figures, one file each, and what they are laid out with: sheet, lattice, panels, scales, typesetting."""
