"""The proof of the kernels without a GPU: traffic, races, bounds by interpretation; registers by compilation."""
