"""Ways to break a release, by topic."""
