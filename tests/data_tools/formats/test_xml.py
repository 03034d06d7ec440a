"""The XML of the state, of journals and of editions: what a reader reads; and no XML that does harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas_data.formats import extract_file
from clapas_data.formats.document import Document

LEGI = """<?xml version="1.0" encoding="UTF-8"?>
<ARTICLE><META><META_COMMUN><ID>LEGIARTI000006419280</ID><NATURE>Article</NATURE></META_COMMUN>
<META_SPEC><META_ARTICLE><NUM>1</NUM><ETAT>{state}</ETAT></META_ARTICLE></META_SPEC></META>
<CONTEXTE><TEXTE><TITRE_TXT>Code civil</TITRE_TXT></TEXTE></CONTEXTE>
<NOTA><CONTENU>Entrée en vigueur en 2004.</CONTENU></NOTA>
<BLOC_TEXTUEL><CONTENU><p>Les lois sont exécutoires<br clear="none"/>dans tout le territoire.</p>
<table><tr><td>a</td><td>b</td></tr></table></CONTENU></BLOC_TEXTUEL></ARTICLE>"""

JADE = """<TEXTE_JURI_ADMIN><META><META_COMMUN><ID>CETATEXT000007600001</ID></META_COMMUN><META_SPEC>
<META_JURI><TITRE>Conseil d'Etat, du 1 juin 1990, 12345</TITRE></META_JURI></META_SPEC></META>
<TEXTE><BLOC_TEXTUEL><CONTENU>Vu la requête ;<br/>Considérant que</CONTENU></BLOC_TEXTUEL>
<SOMMAIRE><SCT>01-02</SCT></SOMMAIRE></TEXTE></TEXTE_JURI_ADMIN>"""

JATS = """<!DOCTYPE article PUBLIC "-//NLM//DTD JATS//EN" "JATS-archivearticle1.dtd">
<article xmlns:mml="http://www.w3.org/1998/Math/MathML"><front><article-meta>
<article-id pub-id-type="pmid">1</article-id><article-id pub-id-type="doi">10.1/x</article-id>
<title-group><article-title>Un titre en <italic>italique</italic></article-title></title-group>
<contrib-group><contrib><name>Anne</name></contrib></contrib-group>
<abstract><p>Un r&eacute;sum&eacute;.</p></abstract><trans-abstract xml:lang="en"><p>In English.</p></trans-abstract>
</article-meta></front><body><sec><title>Méthode</title><p>On pose <inline-formula><tex-math>$a^2$</tex-math>
<mml:math><mml:mi>a</mml:mi></mml:math></inline-formula> comme chez <xref ref-type="bibr">[3]</xref>Durand
(<xref ref-type="fig">figure 1</xref>).</p><table-wrap><table><tr><td>1</td><td>2</td></tr></table></table-wrap>
</sec></body><back><ref-list><ref>Durand, 1999</ref></ref-list></back></article>"""

TEI = """<teiCorpus xmlns="http://www.tei-c.org/ns/1.0"><TEI xml:id="un"><teiHeader><fileDesc><titleStmt>
<title>Fables</title></titleStmt><publicationStmt><p/></publicationStmt></fileDesc></teiHeader><text><body><pb n="1"/>
<head>La Cigale</head><lg><l>La Cigale, ayant chanté</l><l>Tout l'<choice><orig>esté</orig><reg>été</reg></choice>,</l>
</lg><p>prés<lb break="no"/>ence<note>Une note.</note> et<lb/>suite</p></body><back><p>Index</p></back></text></TEI>
<TEI><teiHeader/><text><body><p>Second.</p></body></text></TEI></teiCorpus>"""


def read(how: str, content: str) -> list[Document]:
    """The documents of a file, as bytes."""
    return list(extract_file(how, content.encode(), "a.xml"))


def test_legi_reads_articles_in_force() -> None:
    """The text, then its nota; a version that is not in force repeats another: no document."""
    (found,) = read("legi-xml", LEGI.format(state="VIGUEUR"))
    assert found.id == "LEGIARTI000006419280"
    assert found.text == "Les lois sont exécutoires\ndans tout le territoire.\na | b\nEntrée en vigueur en 2004."
    assert found.url.endswith("/LEGIARTI000006419280")
    assert read("legi-xml", LEGI.format(state="MODIFIE")) == []


def test_jade_reads_a_decision() -> None:
    """Title and text, without the summary's codes."""
    (found,) = read("jade", JADE)
    assert found.id == "CETATEXT000007600001"
    assert found.text == "Conseil d'Etat, du 1 juin 1990, 12345\nVu la requête ;\nConsidérant que"
    (escaped,) = read("jade", JADE.replace("<br/>", "&lt;br/&gt;").replace(" que<", " &amp; a &lt; b<"))
    assert escaped.text.splitlines()[1:] == ["Vu la requête ;", "Considérant & a < b"]


def test_jats_reads_an_article() -> None:
    """Entities of HTML are characters, formulas LaTeX; no authors, references, nor their numbers."""
    (found,) = read("jats", JATS)
    assert (found.id, found.url) == ("10.1/x", "https://doi.org/10.1/x")
    body = "On pose $a^2$ comme chez Durand (figure 1)."
    assert found.text == f"Un titre en italique\nUn résumé.\nMéthode\n{body}\n1 | 2"


def test_tei_reads_each_text() -> None:
    """Verses are lines; the regularised reading; no notes; a word broken over a page is whole."""
    first, second = read("tei", TEI)
    assert first == Document("un", "Fables\nLa Cigale\nLa Cigale, ayant chanté\nTout l'été,\nprésence et suite")
    assert second == Document("", "Second.")


@pytest.mark.parametrize("how", ["legi-xml", "jade", "jats", "tei"])
def test_another_xml_is_named(how: str) -> None:
    """A file of another kind, or none, is told with its name and line."""
    with pytest.raises(UserError, match=f"a.xml: not a file that `{how}` reads(.|\n)*<other>"):
        read(how, "<other/>")
    with pytest.raises(UserError, match=r"a\.xml:2: not sound XML"):
        read(how, "<a>\n<b></a>")
    with pytest.raises(UserError, match=r"a\.xml:\d+: not sound XML"):
        list(extract_file(how, '<?xml version="1.0" encoding="UTF-8"?><a>soir\xe9e</a>'.encode("latin-1"), "a.xml"))


def test_no_entity_reads_a_file(tmp_path: Path) -> None:
    """An external entity (XXE) is no text, whether a file or a DTD of one's own."""
    (tmp_path / "secret").write_text("mot de passe")
    (tmp_path / "own.dtd").write_text('<!ENTITY b "mot de passe">')
    for subset in (f'<!ENTITY b SYSTEM "file://{tmp_path}/secret">', f'<!ENTITY % d SYSTEM "{tmp_path}/own.dtd">%d;'):
        xml = f"<!DOCTYPE TEI [{subset}]><TEI><text><body><p>avant&b;après</p></body></text></TEI>"
        assert read("tei", xml) == [Document("", "avantaprès")]


def test_no_entity_grows() -> None:
    """A billion laughs is refused, in an element and in an attribute; so is depth. A few are only not expanded."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha" * 50}">' for n in range(10))
    body = "<!DOCTYPE TEI [%s]><TEI><text><body><p%s>%s</p></body></text></TEI>"
    assert read("tei", body % ('<!ENTITY a "ha">', "", "un&a;deux")) == [Document("", "undeux")]
    for attack in (body % (laughs, "", "&l9;"), body % (laughs, ' n="&l9;"', "un")):
        with pytest.raises(UserError, match="not sound XML"):
            read("tei", attack)
    with pytest.raises(UserError, match="not sound XML"):
        read("tei", "<TEI>" + "<p>" * 5000 + "</p>" * 5000 + "</TEI>")
