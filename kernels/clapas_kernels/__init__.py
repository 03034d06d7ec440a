"""Fused operations, a file each: Triton kernel, PyTorch reference, contract. An empty room until their issue."""
