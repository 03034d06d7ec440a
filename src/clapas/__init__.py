"""Clapas: train open French foundation models on public supercomputers."""

__version__ = "0.1.0"
