"""Licences of weights, with their texts, and whether they agree with the licences of data and of base models."""
