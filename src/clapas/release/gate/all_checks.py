"""The checks of the gate, by number. Before the signature all but the last two; `clapas verify` those of a stranger."""

from __future__ import annotations

from clapas.release.gate.check import Check
from clapas.release.gate.checks import (
    card,
    compute,
    dtype,
    energy,
    evaluations,
    files,
    gguf,
    health,
    held_out_loss,
    index,
    licences,
    loading,
    logits,
    revisions,
    rope,
    signature,
    sources,
    special_tokens,
    template,
    tokenizer,
    training_content,
    tying,
    upload,
    vocabulary,
)

OF_MODEL: tuple[Check, ...] = tuple(
    module.CHECK
    for module in (files, index, dtype, rope, vocabulary, tying, special_tokens, tokenizer, template, loading)
)
"""1 to 10: what every folder with a model must pass, intermediate revisions too."""
BEFORE_SEALING: tuple[Check, ...] = (
    *OF_MODEL,
    *(
        module.CHECK
        for module in (logits, held_out_loss, gguf, licences, sources, compute, energy, training_content, health)
    ),
    *(module.CHECK for module in (evaluations, card, revisions)),
)
"""1 to 22."""
SEALED, UPLOADED = signature.CHECK, upload.CHECK
"""23 looks at the sealed folder, 24 at what was uploaded."""
ALL: tuple[Check, ...] = (*BEFORE_SEALING, SEALED, UPLOADED)
