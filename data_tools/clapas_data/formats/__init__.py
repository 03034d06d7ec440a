"""Text out of one file or row: one module a family of formats."""

from clapas_data.formats.extract import extract_file, extract_text

__all__ = ["extract_file", "extract_text"]
