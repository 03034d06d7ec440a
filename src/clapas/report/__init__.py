"""The run as a page of plots."""
