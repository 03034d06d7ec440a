"""A source's documents as they lie: one module a kind of source, cut into parts that processes read on their own."""

from clapas_data.sources.dispatch import read_part, source_facts, source_identity, source_parts
from clapas_data.sources.part import Part, RawDocument

__all__ = ["Part", "RawDocument", "read_part", "source_facts", "source_identity", "source_parts"]
