"""Group relative policy optimisation: completions of the model itself, rewarded, learned from."""
