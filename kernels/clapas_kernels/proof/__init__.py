"""The proof of the kernels, without a GPU: traffic, races and bounds in the interpreter; registers and widths by compilation."""
