"""What is asked of how a model was trained: why so, with which current, on whose health data, from which models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from clapas.recipe.typed import Section
from clapas.release.asked.forms import Bilingual, Country, Text


class Documentation(Section):
    """What the Code of Practice's form asks of people. systems: of what type and nature those AI systems are into which
    the model can be integrated. design: why the model is built as it is; training: why it is trained as it is.

    unsuitable: how unsuitable data sources were detected. biases: how biases that can be identified were detected.
    """

    systems: Bilingual
    design: Bilingual
    training: Bilingual
    unsuitable: Bilingual
    biases: Bilingual


class Energy(Section):
    """Where the current came from. power_usage_effectiveness: of the site, annual; null: not known.

    watts_per_accelerator: of one accelerator (or rank, on CPUs) in use with its share of the node: what an estimate
    rests on where nothing was measured. carbon_intensity: g CO2e a kWh. Each figure with where it is from.
    """

    country: Country
    site: Bilingual
    power_usage_effectiveness: Annotated[float, Field(ge=1, le=3)] | None
    power_usage_effectiveness_source: Bilingual | None
    watts_per_accelerator: Annotated[float, Field(gt=0)]
    watts_source: Bilingual
    carbon_intensity: Annotated[float, Field(ge=0)]
    carbon_intensity_source: Bilingual
    hardware: Bilingual
    """The machines, as people name them: `2 cores of an x86 server`, `64 nodes of 4 NVIDIA H100 SXM5 80 GB`."""

    @model_validator(mode="after")
    def _each_figure_has_a_source(self) -> Energy:
        if self.power_usage_effectiveness is not None and self.power_usage_effectiveness_source is None:
            raise ValueError("power_usage_effectiveness_source: blank; wanted: where the figure is from")
        return self


class Health(Section):
    """Asked where a source contains health data. legal_basis: of the GDPR, articles 6 and 9, or the national law's."""

    legal_basis: Bilingual
    authorisation: Bilingual
    deidentification: Bilingual
    not_a_medical_device: bool


class FirstModel(Section):
    """What people know of a model that the run began with, or learned from. licence: its SPDX identifier. summary: its
    own summary of training content, a page; null where its provider has none. training_flops: of its training, null
    where unknown. parameters: of a teacher, those that multiply for one token. licence_decision: of a teacher, as of a
    source of data.
    """

    name: Text
    revision: Text
    url: Text
    licence: Text
    attribution: Text
    summary: Text | None
    training_flops: Annotated[float, Field(gt=0)] | None
    parameters: Annotated[int, Field(gt=0)] | None = None
    licence_decision: Bilingual | None = None
