"""Whether what machines read of a release is what its formats ask: Croissant by `mlcroissant`, the BOM by CycloneDX's
own schema. Both offline."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas.release.documents import bom, croissant
from clapas.release.gate.reading import Unreadable, read_object
from clapas_data.optional import needs


def croissant_problem(folder: Path) -> str | None:
    """What is wrong with the metadata of the data; None: nothing. Raises UserError without `mlcroissant`."""
    found = read_object(folder, croissant.FILE)
    if isinstance(found, Unreadable):  # check 1 tells
        return None
    with needs("mlcroissant", "checking Croissant metadata", extra="release"):
        import mlcroissant
    try:
        with _quiet():
            mlcroissant.Dataset(jsonld=found)
    except (mlcroissant.ValidationError, ValueError, TypeError, KeyError) as error:
        return f"{croissant.FILE} is no Croissant metadata: {' '.join(str(error).split())[:300]}"
    return None


def bom_problem(folder: Path) -> str | None:
    """What is wrong with the bill of materials; None: nothing. Raises UserError without `cyclonedx-python-lib`."""
    found = read_object(folder, bom.FILE)
    if isinstance(found, Unreadable):  # check 1 tells
        return None
    with needs("cyclonedx", "checking the bill of materials", extra="release"):
        from cyclonedx.exception import MissingOptionalDependencyException
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    try:
        error = JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(found), all_errors=False)
    except MissingOptionalDependencyException:
        what = "checking the bill of materials needs `cyclonedx-python-lib[json-validation]`, which is not installed"
        raise UserError(what, way_out="pip install 'clapas[release]'") from None
    return None if error is None else f"{bom.FILE} is no CycloneDX 1.7: {' '.join(str(error).split())[:300]}"


PROBLEMS: tuple[Callable[[Path], str | None], ...] = (croissant_problem, bom_problem)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's advice on standard error."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
