"""The probes' names. Knows no torch."""

PROBES = ("memorisation", "bias", "toxicity", "refusal")
ALL = "all"
