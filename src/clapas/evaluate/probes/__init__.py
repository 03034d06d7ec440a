"""Small questions to a model that a release asks: what it repeats, prefers, says and refuses."""
