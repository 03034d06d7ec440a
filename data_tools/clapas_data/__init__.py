"""French text -> clean, deduplicated, documented token shards. Knows no torch."""
