"""What was measured: held-out text, and tasks with all that they were asked with."""

from __future__ import annotations

from clapas.release.documents import words
from clapas.release.documents.card.contamination import contamination
from clapas.release.documents.facts import Facts
from clapas.release.documents.markdown import code, plain, table
from clapas.release.documents.results import TaskResult, last_held_out, task_results
from clapas.release.documents.words import Language, either


def evaluation(facts: Facts, to: Language) -> str:
    """Held-out text, tasks, contamination."""
    title = either(to, "### Évaluation", "### Evaluation")
    return "\n\n".join(filter(None, [title, _held_out(facts, to), _tasks(facts, to), contamination(facts, to)])) + "\n"


def _held_out(facts: Facts, to: Language) -> str:
    rows = last_held_out(facts.evidence)
    if not rows:
        return either(to, "Aucune évaluation sur des textes tenus à l'écart.", "Not evaluated on held-out text.")
    told = either(
        to,
        "Sur des documents tenus à l'écart de l'entraînement. Le nombre de bits par octet ne dépend pas du découpage "
        "en jetons : plus il est bas, mieux le modèle prédit le texte.",
        "On documents held out from training. Bits per byte do not depend on the tokenizer: the lower, the better the "
        "model predicts the text.",
    )
    head = (
        ("partie", "bits par octet", "perte (nats par jeton)", "octets de texte", "au pas")
        if to == "fr"
        else ("split", "bits per byte", "loss (nats a token)", "bytes of text", "at step")
    )
    cells = [
        (
            code(row.split),
            "" if row.bits_per_byte is None else words.decimal(row.bits_per_byte, 4, to),
            words.decimal(row.loss, 4, to),
            "" if row.text_bytes is None else words.number(row.text_bytes, to),
            words.number(row.step, to),
        )
        for row in rows
    ]
    return f"{told}\n\n{table(head, cells, numbers=(1, 2, 3, 4))}"


def _tasks(facts: Facts, to: Language) -> str:
    results = task_results(facts.evidence)
    if not results:
        return either(to, "Aucune tâche mesurée.", "No tasks were measured.")
    head = (
        ("tâche", "version", "questions", "exemples montrés", "mesure", "valeur", "erreur type")
        if to == "fr"
        else ("task", "version", "questions", "examples shown", "metric", "value", "standard error")
    )
    rows = [row for result in results for row in _task(result, to)]
    return f"{table(head, rows, numbers=(2, 3, 5, 6))}\n\n{_asked(results, to)}"


def _task(result: TaskResult, to: Language) -> list[tuple[str, ...]]:
    items = words.number(result.items, to)
    if result.items != result.of:
        items += either(to, " sur ", " of ") + words.number(result.of, to)
    beside = (code(result.name), plain(result.version), items, str(result.num_fewshot))
    return [
        (
            *beside,
            code(metric),
            words.decimal(value, 3, to),
            "" if error is None else words.decimal(error, 3, to),
        )
        for metric, (value, error) in result.metrics.items()
    ]


def _asked(results: list[TaskResult], to: Language) -> str:
    """What tasks were measured with, once for all that were measured alike."""
    groups: dict[tuple[str, int, bool, str], None] = dict.fromkeys((r.harness, r.seed, r.chat, r.file) for r in results)
    lines = []
    for harness, seed, chat, file in groups:
        way = (
            either(to, "par le gabarit de conversation", "through the chat template")
            if chat
            else either(to, "sans gabarit de conversation", "without a chat template")
        )
        answers = code(f"evaluations/{file}")
        lines.append(
            either(
                to,
                f"Mesuré avec {plain(harness)}, graine {seed}, {way} ; relevé complet : {answers}.",
                f"Measured with {plain(harness)}, seed {seed}, {way}; whole record: {answers}.",
            )
        )
    return "\n\n".join(lines)
