"""Licences: those that weights may have, with their texts, and whether they agree with the licences of data and bases."""
