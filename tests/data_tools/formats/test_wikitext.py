"""Wikitext: what a reader of the article sees as prose, and nothing of the page's boxes; no text takes for ever."""

from __future__ import annotations

import time

import pytest

from clapas_data.formats.wikitext import wikitext_to_text

ARTICLE = """{{Infobox Livre|titre=L'Iliade|image=[[Fichier:x.jpg|vignette]]|auteur={{nobr|[[Homère]]}}}}
<!-- un commentaire {{ -->
L'''Iliade'' est une [[épopée]] de la [[Grèce antique|Grèce]]<ref name="a">{{Ouvrage|titre=x}}, p. 3</ref>, composée au
{{-s|VIII}}<ref name="a" />. Elle compte {{unité|15693|vers}} ({{grec ancien|Ἰλιάς}}) ; voir {{lang|en|the ''Iliad''}}.

== Récit ==
[[Fichier:Achille.jpg|vignette|Achille, par [[Peintre|un peintre]], {{s|V}}.]]
{| class="wikitable"
! A !! B
|-
| 1 || {{x|y}}
|}
Dès le {{date|14|juillet|1789|en musique}}&nbsp;: voir [https://example.org le site] et <math>a^2 + b_{i}</math>.
* Premier ''item''
# Second <nowiki>{{brut}}</nowiki><br/>troisième
=== Vide ===
{{Section vide}}

== Notes et références ==
{{Références}}
=== Notes ===
Une note.
== Voir aussi ==
* [[Odyssée]]
[[Catégorie:Épopée]]
[[en:Iliad]]
"""

PROSE = """L'Iliade est une épopée de la Grèce, composée au
VIIIe siècle av. J.-C. Elle compte 15693\u00a0vers ; voir the Iliad.

Récit

Dès le 14 juillet 1789\u00a0: voir le site et $a^2 + b_{i}$.
Premier item
Second {{brut}}
troisième"""

HOSTILE = ["[[", "{{", "{{a|", "[[{{", "<ref>", "'''", "{|\n", "<!--", "[http://a", "(", "=", "<b ", "[[a]]{{", "<math"]


def test_an_article() -> None:
    """Words that are templates are read; boxes, notes, tables, pictures, sections of links and hollow ones are not."""
    assert wikitext_to_text(ARTICLE) == PROSE


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("l'''Iliade'' et '''''tout''''' et '''gras'''", "l'Iliade et tout et gras"),
        ("un {{non fermé et [[lien|texte]] après", "un non fermé et texte après"),
        ("fin ]] seule }} et [[ouvert", "fin  seule  et ouvert".replace("  ", " ")),
        ("{{1er}} mai, {{XIXe siècle}}, {{nb|5}}, {{M.|Dupont}}", "1er mai, XIXe siècle, 5, M.\u00a0Dupont"),
        ("a {{lien|langue=en|trad=X|fr=Nom|texte=nom}} b", "a nom b"),
        ("[[:Catégorie:Chats|chats]] [[Fichier:a.png]] [[fr:X]]", "chats"),
        ("", ""),
    ],
)
def test_pieces(text: str, wanted: str) -> None:
    """One construct at a time."""
    assert wikitext_to_text(text) == wanted


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_takes_for_ever(piece: str) -> None:
    """Whatever is opened and never closed, ten times the text takes about ten times as long, not a hundred."""

    def seconds(size: int) -> float:
        tries = []
        for _ in range(3):  # the least: another process may have taken the core
            began = time.process_time()
            wikitext_to_text(piece * (size // len(piece)))
            tries.append(time.process_time() - began)
        return min(tries)

    assert seconds(50_000) < 40 * max(seconds(5_000), 0.01)
