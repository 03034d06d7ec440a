"""The decoder, its initialisation, and Hugging Face's form of it both ways."""
