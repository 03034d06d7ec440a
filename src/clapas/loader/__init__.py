"""Sample index -> spans -> batches."""
