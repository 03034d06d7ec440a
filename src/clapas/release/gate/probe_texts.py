"""Texts that a French model's tokenizer must take apart and put together again, letter by letter."""

from __future__ import annotations

TEXTS = (
    "Le salarié a droit à un congé de « naissance » d’une durée de 3 jours ouvrés ; l'œuvre, elle, n'en a pas.",
    "Œuvres, cœurs et bœufs ; ex æquo et curriculum vitæ ; Æ, Œ ; l'ﬁn de l'aﬀaire, oﬃciel, ﬂeur.",
    "« Qu'est-ce que c’est ? »\u00a0! \u00ab\u202fBonjour\u202f\u00bb, 12\u00a0345,67\u00a0€, 50\u202f% ; "
    "a-t-il, aujourd’hui, s'il, L’ÉTÉ, C'EST",
    "  deux espaces, une\ttabulation,\r\nune ligne\n\n\net une fin avec des espaces   ",
    "".join(map(chr, range(32, 127))) + "".join(map(chr, range(160, 256))),
    "".join(map(chr, range(256))),
    "e\u0301 comme é, des tirets – et —, des points…, ‰, °C, m², nᵒ 1ᵉʳ, \U0001f642, Ελλάδα, 中文",
)
"""Both apostrophes and elisions; ligatures; guillemets with no-break and narrow no-break spaces; white space; Latin-1,
printable and then all of it; combining marks and other scripts."""

CONVERSATION = (
    {"role": "user", "content": "Qu'est-ce que l'œuvre d’un « salarié » ?"},
    {"role": "assistant", "content": "Ce qu'il crée dans l'exercice de ses fonctions."},
    {"role": "user", "content": "Et ses congés\u00a0?"},
)
"""Turns that every chat template takes; what stands in them must stand in the text that it makes, in this order."""
