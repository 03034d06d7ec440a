"""Rewards that can be verified, one a file. No torch."""
