"""What fine-tuning minimises: objectives as small parts, which the training loop calls."""
