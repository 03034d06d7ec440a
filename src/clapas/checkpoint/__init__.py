"""The checkpoint format: fragments, manifest, commit, verify, read by slices. Knows no DeepSpeed."""
