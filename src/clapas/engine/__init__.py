"""The only place that imports DeepSpeed."""
