"""The cases of each operation, a file of the operation's name (see `clapas_kernels.proof.cases`)."""
