"""The card's YAML: what the Hub shows, filters and compares by. Written by the Hub's own library, so that it parses."""

from __future__ import annotations

from typing import Any

from clapas.release.documents.card.kinds import first_weights, kind_of
from clapas.release.documents.facts import Facts
from clapas.release.documents.hub_names import hub_dataset, hub_licence, hub_model
from clapas.release.documents.results import TaskResult, last_held_out, task_results
from clapas.release.energy_use import EnergyUse, energy_use
from clapas.release.evidence.evidence import HeldOut
from clapas_data.optional import needs

TASK = "text-generation"
COUNTRIES = {"FR": "France"}


def metadata(facts: Facts) -> dict[str, Any]:
    """Its keys in order. Raises UserError where `huggingface_hub` is not installed."""
    with needs("huggingface_hub", "the model card's metadata", extra="release"):
        from huggingface_hub import ModelCardData

    model = facts.answers.model
    licence = hub_licence(model.licence)
    named = ModelCardData(
        language=list(model.languages),
        license=licence["license"],
        license_name=licence.get("license_name"),
        license_link=licence.get("license_link"),
        library_name="transformers",
        pipeline_tag=TASK,
        tags=_tags(facts),
        base_model=base_models(facts) or None,
        base_model_relation="finetune" if base_models(facts) else None,
        datasets=_datasets(facts) or None,
        co2_eq_emissions=emissions(facts),
        model_name=model.name,
        eval_results=_results(facts) or None,
    )
    if named.eval_results is None:
        named.pop("model_name")
    return named.to_dict()


def _tags(facts: Facts) -> list[str]:
    evidence = facts.evidence
    method = "dora" if evidence.adapters and evidence.adapters.get("dora") else "lora"
    told = ["clapas", kind_of(evidence).tag, method if evidence.adapters else None]
    return [*filter(None, told), *["conversational"] * facts.is_chat, *["gguf"] * bool(facts.gguf)]


def base_models(facts: Facts) -> list[str]:
    """OWNER/NAME of each model on the Hub that the weights come from."""
    asked = [facts.answers.base_models.get(base.folder) for base in facts.evidence.bases if base.role == "weights"]
    return list(dict.fromkeys(name for answer in asked if answer and (name := hub_model(answer.url))))


def _datasets(facts: Facts) -> list[str]:
    sources = [source for data in facts.evidence.data for source in data.sources]
    names = [hub_dataset(source.url, source.origin) for source in sources]
    return list(dict.fromkeys(name for name in names if name))


def emissions(facts: Facts) -> dict[str, Any]:
    """`co2_eq_emissions`: grams of CO2 equivalent, to six digits, and what they rest on."""
    answers, use = facts.answers.energy, energy_use(facts.evidence, facts.answers)
    return {
        "emissions": float(f"{use.co2_grams:.6g}"),
        "source": f"{_method(use)}, times the current's carbon intensity ({answers.carbon_intensity_source.en})",
        "training_type": "fine-tuning" if first_weights(facts.evidence) else "pre-training",
        "geographical_location": COUNTRIES.get(answers.country, answers.country),
        "hardware_used": answers.hardware.en,
    }


def _method(use: EnergyUse) -> str:
    if use.is_measured:
        return f"energy measured ({use.boundary})"
    if use.boundary is None:
        return "energy estimated, not measured"
    return f"energy measured in part ({use.boundary}), estimated for the rest"


def _results(facts: Facts) -> list[Any]:
    """The legacy form, `model-index`: every metric of every split and task."""
    return [
        *(result for row in last_held_out(facts.evidence) for result in _of_split(facts, row)),
        *(result for task in task_results(facts.evidence) for result in _of_task(facts, task)),
    ]


def _of_split(facts: Facts, row: HeldOut) -> list[Any]:
    from huggingface_hub import EvalResult

    data = facts.evidence.own_data
    metrics = {"bits_per_byte": ("Bits per byte", row.bits_per_byte), "loss": ("Loss (nats a token)", row.loss)}
    return [
        EvalResult(
            task_type=TASK,
            task_name="Held-out text",
            dataset_type=_on_hub(facts, row.split) or data.name,
            dataset_name=f"{data.name}, {row.split}",
            dataset_split=row.split,
            dataset_revision=data.manifest_hash,
            metric_type=metric,
            metric_name=name,
            metric_value=value,
        )
        for metric, (name, value) in metrics.items()
        if value is not None
    ]


def _of_task(facts: Facts, task: TaskResult) -> list[Any]:
    from huggingface_hub import EvalResult

    asked = {"num_fewshot": task.num_fewshot, "seed": task.seed, "chat": task.chat, "items": task.items}
    return [
        EvalResult(
            task_type=TASK,
            task_name=task.name,
            dataset_type=_on_hub(facts, task.name) or task.name,
            dataset_name=task.name,
            dataset_config=f"{task.num_fewshot}-shot" + (", chat" if task.chat else ""),
            dataset_args={**asked, "version": task.version, "harness": task.harness},
            metric_type=metric,
            metric_value=value,
        )
        for metric, (value, _) in task.metrics.items()
    ]


def _on_hub(facts: Facts, name: str) -> str | None:
    benchmark = facts.answers.benchmarks.get(name)
    return benchmark.dataset if benchmark else None
