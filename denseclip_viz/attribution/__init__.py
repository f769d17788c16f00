"""What made a score: gradients, for comparison with the exact decomposition."""
