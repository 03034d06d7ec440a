"""What a run was, as plain facts: read once from its ledger, data and checkpoints."""
