"""Thresholds of the AI Act, computing counted twice, and energy: of models that everybody knows."""

from __future__ import annotations

import pytest

from clapas.release.ai_act import GENERAL_PURPOSE, Modified, Verdicts
from clapas.release.energy_use import EnergyUse

SEVEN_B = 6 * 7e9 * 2.4e12
LUCIE = 6 * 6.7e9 * 3e12
LLAMA_405B = 6 * 405e9 * 15.6e12


def test_seven_billion_on_2_4_trillion_tokens_are_general_purpose() -> None:
    """1.008e23: the example of who stands just above the first threshold."""
    found = Verdicts(SEVEN_B, ())
    assert found.general_purpose
    assert not found.systemic_risk
    assert found.duties == ("53(1)(c)", "53(1)(d)")


def test_below_the_first_threshold_nothing_is_due() -> None:
    """A model of three billion parameters and a trillion tokens."""
    found = Verdicts(6 * 3e9 * 1e12, ())
    assert not found.general_purpose
    assert found.duties == ()


def test_systemic_risk_voids_the_exemption_of_open_models() -> None:
    """Llama 3.1 405B: 3.8e25 FLOP."""
    found = Verdicts(LLAMA_405B, ())
    assert found.systemic_risk
    assert found.duties == ("52", "53(1)(a)", "53(1)(b)", "53(1)(c)", "53(1)(d)", "54", "55")


@pytest.mark.parametrize(("share", "becomes"), [(0.02, False), (0.3, False), (0.34, True), (2.0, True)])
def test_a_third_of_the_original_compute_makes_a_provider(share: float, becomes: bool) -> None:
    """Fine-tuning of a known model, by how much it took."""
    found = Verdicts(share * LUCIE, (Modified("Lucie-7B", LUCIE),))
    assert found.becomes_provider is becomes
    assert bool(found.duties) is becomes


def test_of_an_unknown_original_a_third_of_the_first_threshold_counts() -> None:
    """Nobody said what the base took: 3.3e22 FLOP make a provider, and the total is a least."""
    under, over = (Verdicts(flops, (Modified("base", None),)) for flops in (3.3e22, 3.4e22))
    assert not under.becomes_provider
    assert over.becomes_provider
    assert under.is_least


def test_a_large_modification_of_a_small_model_has_no_duties() -> None:
    """More than a third of little is still no general-purpose model."""
    found = Verdicts(2e21, (Modified("small", 3e21),))
    assert found.becomes_provider
    assert not found.general_purpose
    assert found.duties == ()


def test_a_modified_model_counts_what_it_began_with() -> None:
    """The cumulative compute of a continued pretraining is that of both."""
    found = Verdicts(0.6e23, (Modified("base", 0.7e23),))
    assert found.total == pytest.approx(1.3e23)
    assert found.general_purpose
    assert found.becomes_provider


def test_near_a_threshold_the_margin_of_error_is_told() -> None:
    """Counts may be wrong by 30 %: who stands so near below a threshold is not safely below it."""
    found = Verdicts(0.8e23, ())
    assert found.is_near(GENERAL_PURPOSE, 0.8e23)
    assert not found.is_near(GENERAL_PURPOSE, 0.7e23)
    assert not found.is_near(GENERAL_PURPOSE, 1.1e23)


def test_co2_is_of_the_site_where_its_pue_is_known() -> None:
    """100 kWh of machines, PUE 1.2, 50 g a kWh: 6 kg; without a PUE, of the machines alone."""
    use = EnergyUse(100, 0, "GPU boards", 0, 15, 1.2, 50, ())
    assert use.is_measured
    assert use.site_kwh == pytest.approx(120)
    assert use.co2_grams == pytest.approx(6000)
    assert EnergyUse(0, 100, None, 0, 15, None, 50, ()).co2_grams == pytest.approx(5000)


def test_what_is_estimated_in_part_is_not_measured() -> None:
    """One run with a counter, one without."""
    assert not EnergyUse(100, 1, "GPU boards", 0, 15, 1.2, 50, ()).is_measured
