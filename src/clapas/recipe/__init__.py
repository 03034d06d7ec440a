"""Typed files with line-precise errors, overrides, and a run's two hashes. Knows no torch."""
