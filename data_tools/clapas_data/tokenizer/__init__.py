"""Tokenizers: trained on a corpus (train.py), compared with others (compare.py), looked into (inspect.py)."""
