"""Evidence of a run: append, read, sum. Knows no torch."""
