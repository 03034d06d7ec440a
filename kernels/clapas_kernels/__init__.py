"""Fused operations: Triton kernel, PyTorch reference and contract, a file each. Their issue has yet to fill this room."""
