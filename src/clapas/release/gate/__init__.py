"""The checks that a release must pass."""
