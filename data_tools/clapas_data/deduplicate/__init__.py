"""Deduplication across documents, in stages of tasks with bounded memory: exact, near, lines (see stages.py)."""
