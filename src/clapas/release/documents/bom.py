"""`documents/bom.cdx.json`: the bill of materials of the model, in CycloneDX 1.7 (ECMA-424): an ML-BOM.

The model with its card, every file of its weights, GGUF too, with its hash, the texts that it comes from, the models
that it began with, the software that trained it. Nothing in it is of the moment: the same facts give the same bytes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from typing import Any

import orjson

from clapas.release.documents.bom_model_card import model_card
from clapas.release.documents.facts import Facts
from clapas.release.documents.notice import named_sources
from clapas.release.evidence.evidence import BaseFacts, DataFacts, SourceFacts
from clapas_data.licences import UNKNOWN

FILE = "documents/bom.cdx.json"
SPECIFICATION = "1.7"
SCHEMA = f"http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json"
MODEL = "model"

Values = dict[str, Any]


def documents(facts: Facts) -> dict[str, bytes]:
    """The bill of materials."""
    return {FILE: orjson.dumps(_bom(facts), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)}


def _bom(facts: Facts) -> Values:
    parts = [*_texts(facts), *_software(facts)]
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{_serial(facts)}",
        "version": 1,
        "metadata": {
            "timestamp": facts.evidence.time,
            "tools": {"components": [{"type": "application", "name": "clapas", "version": facts.evidence.clapas}]},
            "component": _model(facts),
            "supplier": _provider(facts),
        },
        "components": parts,
        "dependencies": [{"ref": MODEL, "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def _serial(facts: Facts) -> uuid.UUID:
    """Of the weights, the checkpoint and the version: another release has another."""
    told = [facts.evidence.checkpoint_seal, facts.answers.model.version, sorted(facts.digests.items())]
    return uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(orjson.dumps(told)).hexdigest())


def _provider(facts: Facts) -> Values:
    provider = facts.answers.provider
    return {"name": provider.name, "url": [provider.website], "contact": [{"email": provider.email}]}


def _model(facts: Facts) -> Values:
    model, evidence = facts.answers.model, facts.evidence
    found: Values = {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "supplier": _provider(facts),
        "authors": [{"name": f"{author.given_names} {author.family_names}"} for author in facts.answers.authors],
        "name": model.name,
        "version": model.version,
        "description": model.summary.en,
        "licenses": _licences(model.licence),
        "properties": [
            {"name": f"clapas:{name}", "value": str(value)}
            for name, value in (
                ("run", evidence.run),
                ("identity", evidence.identity),
                ("checkpoint", evidence.checkpoint),
                ("checkpoint_seal", evidence.checkpoint_seal),
                ("parameters", facts.parameters),
                ("tokens", evidence.tokens),
                ("flops", evidence.compute.flops),
            )
        ],
        "components": [_file(name, facts) for name in sorted(facts.weights)],
        "modelCard": model_card(facts, [source["bom-ref"] for source in _texts(facts)]),
    }
    if evidence.bases:
        found["pedigree"] = {"ancestors": [_ancestor(facts, base) for base in evidence.bases]}
    return found


def _file(name: str, facts: Facts) -> Values:
    return {
        "type": "file",
        "bom-ref": f"file/{name}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": facts.digests[name]}],
        "properties": [{"name": "clapas:bytes", "value": str(facts.weights[name])}],
    }


def _ancestor(facts: Facts, base: BaseFacts) -> Values:
    first = facts.answers.base_models.get(base.folder)
    found: Values = {
        "type": "machine-learning-model",
        "bom-ref": f"base/{base.of}/{base.role}/{base.folder}",
        "name": base.folder if first is None else first.name,
        "properties": [{"name": "clapas:role", "value": base.role}],
    }
    if base.seal is not None:
        found["hashes"] = [{"alg": "SHA-256", "content": base.seal}]
    if first is not None:
        found |= {
            "version": first.revision,
            "licenses": _licences(first.licence),
            "copyright": first.attribution,
            "externalReferences": [{"type": "website", "url": first.url}],
        }
    return found


def _texts(facts: Facts) -> Iterator[Values]:
    for data, source in named_sources(facts.evidence):
        yield _text(facts, data, source)


def _text(facts: Facts, data: DataFacts, source: SourceFacts) -> Values:
    answer = facts.answers.training_content.sources.get(source.name)
    dataset: Values = {"type": "dataset", "name": source.name}
    if source.url:
        dataset["contents"] = {"url": source.url}
    if source.contains:
        dataset["sensitiveData"] = list(source.contains)
    found: Values = {
        "type": "data",
        "bom-ref": f"data/{data.manifest_hash[:16]}/{source.name}",
        "name": source.name,
        "licenses": _licences(source.licence),
        "data": [dataset],
        "properties": [
            {"name": f"clapas:{name}", "value": str(value)}
            for name, value in (
                ("corpus", data.name),
                ("manifest", data.manifest_hash),
                ("documents", source.documents),
                ("tokens", source.tokens),
                ("tokens_read", source.tokens_read),
                ("shards", len(source.shards)),
            )
        ],
    }
    if answer is not None:
        found |= {"description": answer.description.en, "copyright": answer.attribution}
    if source.revision:
        found["version"] = source.revision
    if source.sha256:
        found["hashes"] = [{"alg": "SHA-256", "content": source.sha256}]
    return found


def _software(facts: Facts) -> Iterator[Values]:
    for name, version in sorted(facts.evidence.compute.versions.items()):
        yield {"type": "library", "bom-ref": f"software/{name}", "name": name, "version": str(version)}


def _licences(licence: str) -> list[Values]:
    """As CycloneDX takes an SPDX expression; what is none is a name."""
    return [{"license": {"name": UNKNOWN}}] if licence == UNKNOWN else [{"expression": licence}]
