"""Chat data: conversations, preferences and prompts, rendered by a model's chat template into folders of examples."""
