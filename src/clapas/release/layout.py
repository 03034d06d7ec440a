"""The names of the files of a release: Hugging Face's, which stock tools look for, and those that stand beside them."""

from __future__ import annotations

CONFIG, GENERATION = "config.json", "generation_config.json"
TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
TEMPLATE = "chat_template.jinja"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
CARD, LICENCE, NOTICE = "README.md", "LICENSE", "NOTICE"
EVIDENCE, ANSWERS, RESULTS = "evidence.json", "release.yaml", "release.json"
"""What was computed, what people answered, what the gate said."""
GGUF = "gguf"
"""A folder of GGUF files."""
REVISIONS = "revisions"
"""A folder of intermediate models, each with sums and a signature of its own."""
SUMS, SIGNATURE, PUBLIC_KEY = "SHA256SUMS", "model.sig", "model.pub"
