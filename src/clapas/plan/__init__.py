"""Hardware, memory, throughput. Knows no torch."""
