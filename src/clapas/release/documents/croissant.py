"""`documents/croissant.json`: the texts that trained the model as a data set, in Croissant 1.0 and its RAI vocabulary.

The data set is not distributed. Its files are named with their hashes all the same, relative to the folder of their
corpus: whoever holds the shards knows by these that they are the ones. Sources are what it `isBasedOn`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from clapas.release.documents.facts import Facts
from clapas.release.documents.notice import named_sources
from clapas.release.evidence.evidence import DataFacts, Evidence
from clapas.release.personal_data import persons

FILE = "documents/croissant.json"
SPECIFICATIONS = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
_OF_CROISSANT = (
    "citeAs column extract field fileProperty fileObject fileSet format includes isLiveDataset jsonPath key md5 "
    "parentField path recordSet references regex repeated replace samplingRate separator source subField transform "
    "equivalentProperty"
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "sc": "https://schema.org/",
} | {name: f"cr:{name}" for name in _OF_CROISSANT.split()}
"""The specification's own; a reader may refuse another."""
NOT_DISTRIBUTED = (
    "These metadata describe data that are not distributed with the model, and may not be: files are named by their "
    "path in the folder of their corpus, so that whoever holds them can check their hashes."
)


def documents(facts: Facts) -> dict[str, bytes]:
    """The metadata, as JSON-LD."""
    return {FILE: orjson.dumps(_dataset(facts), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)}


def _dataset(facts: Facts) -> dict[str, Any]:
    evidence, answers = facts.evidence, facts.answers
    sources = [source for _, source in named_sources(evidence)]
    languages = list(dict.fromkeys(source.language for source in sources if source.language))
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": SPECIFICATIONS,
        "name": f"Training corpus of {answers.model.name}",
        "description": f"{_sizes(evidence)} {answers.training_content.content_types.en} {NOT_DISTRIBUTED}",
        "license": list(dict.fromkeys(licence_address(source.licence) for source in sources)),
        "url": answers.provider.website,
        "creator": {"@type": "sc:Organization", "name": answers.provider.name, "url": answers.provider.website},
        "datePublished": facts.date,
        "version": answers.model.version,
        "citeAs": f"{answers.provider.name}: training corpus of {answers.model.name} {answers.model.version}, "
        + ", ".join(f"{data.name} {data.manifest_hash}" for data in _corpora(evidence)),
        "inLanguage": languages or list(answers.model.languages),
        "keywords": list(dict.fromkeys(source.domain for source in sources if source.domain)) or ["text"],
        "isBasedOn": [_source(facts, data, place) for data in _corpora(evidence) for place in range(len(data.sources))],
        "distribution": [file for data in _corpora(evidence) for file in _files(data)],
        **_responsible(facts),
    }


def _corpora(evidence: Evidence) -> list[DataFacts]:
    """Each corpus once, though several runs of the lineage may have read it."""
    return list({data.manifest_hash: data for data in reversed(evidence.data)}.values())[::-1]


def licence_address(licence: str) -> str:
    """SPDX's page of a licence; an expression of several, or one's own, as it is."""
    alone = re.fullmatch(r"[A-Za-z0-9.+-]+", licence) and not licence.lower().startswith("licenseref-")
    return f"https://spdx.org/licenses/{licence}.html" if alone else licence


def _sizes(evidence: Evidence) -> str:
    told = []
    for data in _corpora(evidence):
        documents, tokens = (sum(getattr(source, what) for source in data.sources) for what in ("documents", "tokens"))
        told.append(f"{data.name}: {documents:,} documents, {tokens:,} tokens (manifest {data.manifest_hash}).")
    return " ".join(told)


def _source(facts: Facts, data: DataFacts, place: int) -> dict[str, Any]:
    source = data.sources[place]
    answer = facts.answers.training_content.sources.get(source.name)
    known = {
        "@type": "sc:Dataset",
        "name": source.name,
        "license": licence_address(source.licence),
        "url": source.url,
        "version": source.revision,
        "identifier": source.sha256 or source.listing,
        "inLanguage": source.language,
        "description": None if answer is None else answer.description.en,
        "creditText": None if answer is None else answer.attribution,
        "size": f"{source.documents} documents, {source.tokens} tokens",
    }
    return {key: value for key, value in known.items() if value is not None}


def _files(data: DataFacts) -> Iterator[dict[str, Any]]:
    for source in data.sources:
        for shard in source.shards:
            if shard.bin_sha256 is not None:
                yield {
                    "@type": "cr:FileObject",
                    "@id": f"{data.manifest_hash[:16]}/{shard.path}.bin",
                    "name": f"{shard.path}.bin",
                    "description": f"{shard.documents} documents, {shard.tokens} tokens of {source.name}",
                    "contentUrl": f"{shard.path}.bin",
                    "encodingFormat": "application/octet-stream",
                    "sha256": shard.bin_sha256,
                }


def _responsible(facts: Facts) -> dict[str, Any]:
    """Croissant's vocabulary of responsible AI, where it says what is known."""
    evidence, answers = facts.evidence, facts.answers
    content = answers.training_content
    acquired = sorted({month for source in content.sources.values() for month in source.acquired})
    contains = [
        f"{source.name}: {', '.join((*source.contains, *(f'seems {hint}' for hint in source.seems)))}"
        for source in persons(evidence, answers)
        if source.contains or source.seems
    ]
    return {
        "rai:dataCollection": " ".join(f"{name}: {said.licence_basis.en}." for name, said in content.sources.items()),
        "rai:dataCollectionType": sorted({said.kind for said in content.sources.values()}),
        "rai:dataCollectionTimeframe": [f"{month}-01" for month in (acquired[0], acquired[-1])],
        "rai:dataPreprocessingProtocol": [
            f"{data.name}: {step.name}: {step.documents_in} documents in, {step.documents_out} out; {step.bytes_in} "
            f"bytes in, {step.bytes_out} out"
            for data in _corpora(evidence)
            for step in data.steps
        ],
        "rai:dataBiases": [answers.documentation.biases.en],
        "rai:dataLimitations": [answers.use.limits.en, answers.documentation.unsuitable.en],
        "rai:dataUseCases": [f"Training of {answers.model.name} {answers.model.version}"],
        "rai:personalSensitiveInformation": contains or ["no source is said, or seems, to contain personal data"],
        "rai:dataReleaseMaintenancePlan": f"Not distributed. Takedown: {answers.contacts.takedown}",
    }
