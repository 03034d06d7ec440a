"""Export, card, verify."""
