"""Energy: the joules of a run, each source with the boundary that it measures within."""
