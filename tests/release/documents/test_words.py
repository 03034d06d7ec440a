"""Numbers and Markdown of documents."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

from clapas.release.documents import markdown, words

SPACES = str.maketrans("\u202f\u00a0", "  ")


@pytest.mark.parametrize(
    ("said", "french", "english"),
    [
        (lambda to: words.number(1234567, to), "1 234 567", "1,234,567"),
        (lambda to: words.decimal(1234.5, 2, to), "1 234,50", "1,234.50"),
        (lambda to: words.significant(0.000421, 2, to), "0,00042", "0.00042"),
        (lambda to: words.significant(12345, 2, to), "12 000", "12,000"),
        (lambda to: words.significant(9.996, 3, to), "10", "10"),
        (lambda to: words.power_of_ten(3.07e10, to), "3,07 × 10¹⁰", "3.07 × 10¹⁰"),
        (lambda to: words.rounded(7.241e9, to), "7,24 milliards", "7.24 billion"),
        (lambda to: words.rounded(1.5e6, to), "1,5 million", "1.5 million"),
        (lambda to: words.percent(0.125, to), "12,5 %", "12.5%"),
        (lambda to: words.count(0, "document", "documents", to), "0 document", "0 documents"),
        (lambda to: words.count(2, "document", "documents", to), "2 documents", "2 documents"),
        (lambda to: words.size(999_999, to), "1 Mo", "1 MB"),
        (lambda to: words.size(16_384_000, to), "16,4 Mo", "16.4 MB"),
        (lambda to: words.size(1, to), "1 octet", "1 byte"),
        (lambda to: words.energy(4.43e7, to), "12,3 kWh", "12.3 kWh"),
        (lambda to: words.mass(1500, to), "1,5 kg", "1.5 kg"),
        (lambda to: words.duration(0.2, to), "0 s", "0 s"),
        (lambda to: words.duration(59.7, to), "1 min", "1 min"),
        (lambda to: words.duration(474, to), "7 min 54 s", "7 min 54 s"),
        (lambda to: words.duration(12 * 86400 + 4 * 3600, to), "12 jours 4 h", "12 days 4 h"),
        (lambda to: words.date("2026-08-01T10:00:00Z", to), "1er août 2026", "1 August 2026"),
        (lambda to: words.month("2026-08", to), "août 2026", "August 2026"),
        (lambda to: words.listed(["a", "b", "c"], to), "a, b et c", "a, b and c"),
        (lambda to: words.listed(["a", "b"], to, "or"), "a ou b", "a or b"),
    ],
)  # fmt: skip
def test_quantities_in_french_and_english(said: Callable[[str], str], french: str, english: str) -> None:
    """As a typesetter of each language writes them."""
    assert said("fr").translate(SPACES) == french
    assert said("en").translate(SPACES) == english


def test_no_line_breaks_inside_a_quantity_or_before_a_colon() -> None:
    """Spaces that belong to a number or a punctuation mark are no-break ones; code keeps its own."""
    assert " " not in words.size(16_384_000, "fr") + words.number(10**9, "fr") + words.power_of_ten(1e23, "fr")
    assert words.typeset("« oui » : `a ? b` !") == "«\u00a0oui\u00a0»\u00a0: `a ? b`\u202f!"
    assert words.typeset("```\nx = a ? b\n```\n") == "```\nx = a ? b\n```\n"


def test_a_bar_or_a_line_end_in_an_answer_stays_in_its_cell() -> None:
    """Two columns stay two columns, on one line."""
    row = markdown.table(["a", "b"], [["x | y\nz", ""]]).splitlines()[2]
    assert row == r"| x \| y<br>z | – |"
    assert markdown.table(["a"], [[markdown.plain("x|y")]]).splitlines()[2] == r"| x\|y |"


def test_a_text_of_peoples_own_does_not_restructure_the_page() -> None:
    """Its headings go below the page's, its rules are no metadata, its fences end."""
    assert markdown.block("# Title\n---\n```\ncode", 4) == "#### Title\n***\n```\ncode\n```"


def test_metadata_of_any_text_reads_back() -> None:
    """Colons, quotes and line ends in a name."""
    values = {"license_name": "a: 'b' \"c\" # d\n---\n", "tags": ["é", "no", "1e3"]}
    page = markdown.front_matter(values, "# Body\n")
    assert yaml.safe_load(page.split("---\n\n# Body")[0].removeprefix("---\n")) == values


def test_names_read_as_themselves() -> None:
    """Underscores, stars and backticks of a name are no Markdown."""
    assert markdown.plain("a_b*c <d> _e") == r"a_b\*c \<d\> \_e"
    assert markdown.code("a`b") == "`` a`b ``"
    assert markdown.address("x@y.fr") == "[x@y.fr](mailto:x@y.fr)"
