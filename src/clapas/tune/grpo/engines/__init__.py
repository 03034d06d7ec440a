"""What generates completions: one interface, an engine a file."""
