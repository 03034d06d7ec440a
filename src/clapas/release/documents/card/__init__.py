"""The model card: `README.md`, metadata for the Hub, then French, then English."""
