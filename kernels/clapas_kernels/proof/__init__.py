"""The proof of the kernels without a GPU: traffic, races, bounds by interpretation; registers by compilation."""

SUPPORTED = "3.9"
"""The triton whose interpreter and compiler the proof knows: its minor version."""
