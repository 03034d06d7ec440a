"""Optional behaviour that hangs on the training loop, one concept a file."""
