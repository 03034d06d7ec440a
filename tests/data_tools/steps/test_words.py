"""Word lists: what is insult or pornography is dropped, what speaks of law and medicine is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas_data.steps.words import Words
from clapas_data.text.batch import TextBatch

TOXIC = "Ferme ta gueule, espèce de connard ! T'es qu'une ordure humaine, un abruti, va crever."
ADULT = "Vidéos porno gratuites : films X, plan cul, milf et gros seins, porno français en HD."
COURT = (
    "Le viol et l'agression sexuelle sont punis par le code pénal. L'accusé avait traité la victime de « connard » ; "
    "le trafic de drogue, le proxénétisme et le meurtre sont des crimes. L'injure raciste est un délit."
)
DOCTOR = "Cancer du sein, du vagin et de l'anus : la sexualité, le sperme, le sexe anal et les maladies transmises."


def batch_of(*texts: str) -> TextBatch:
    return TextBatch(texts, ids=[str(place) for place in range(len(texts))])


def test_who_insults_is_not_who_judges() -> None:
    """Scores by list; only those over the threshold, with several terms, are out."""
    outcome = Words()(batch_of(TOXIC, ADULT, COURT, DOCTOR, "", "Bonjour à tous."))
    assert outcome.rejected["toxicity"].tolist() == [True, False, False, False, False, False]
    assert outcome.rejected["adult"].tolist() == [False, True, False, False, False, False]
    assert outcome.scores["toxicity"][0] > 100 > outcome.scores["toxicity"][2] > 10  # one insult, quoted, is not enough
    assert outcome.scores["adult"][4:].tolist() == [0, 0]
    assert not Words(action="score")(batch_of(TOXIC)).rejected
    assert not Words(distinct=20)(batch_of(TOXIC)).rejected["toxicity"].any()


def test_no_official_guide_is_out(guides: list[str]) -> None:
    """269 documents on labour law, harassment and violence at work among them."""
    outcome = Words()(batch_of(*guides))
    assert not any(chosen.any() for chosen in outcome.rejected.values())


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    """Its weights count; what it says is part of the key of the cached work, where it lies is not."""
    (tmp_path / "jeux.tsv").write_text("# jeux d'argent\nroulette, roulettes\t2\ncasino en ligne\t1\nmise\t0.5\n")
    step = Words(lists=("jeux.tsv",)).under(tmp_path)
    outcome = step(batch_of("Casino en ligne, Roulettes, mise", "roulette russe et roulette", "une mise au casino"))
    assert outcome.scores["jeux"].tolist() == [3.5 * 1000 / 5, 4 * 1000 / 4, 0.5 * 1000 / 4]
    assert outcome.rejected["jeux"].tolist() == [True, False, False]
    assert step.score_names == ("jeux",)
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "jeux.tsv").write_bytes((tmp_path / "jeux.tsv").read_bytes())
    assert Words(lists=("moved/jeux.tsv",)).under(tmp_path).identity() == step.identity()
    (tmp_path / "jeux.tsv").write_text("roulette\t1\n")
    assert step.identity() != Words(lists=("moved/jeux.tsv",)).under(tmp_path).identity()


WRONG = {
    b"mot\n": "not an entry",
    b"mot\tbeaucoup\n": "not an entry",
    b"mot\t0\n": "not an entry",
    b"mot,\t1\n": "not an entry",
    b"!!\t1\n": "cannot be found",
    b"Roulette\t1\n": "stands in the list already",
    b"\xe9t\xe9\t1\n": "not UTF-8",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_bad_line_is_named(line: bytes, tmp_path: Path) -> None:
    """With the file, its line, and what was wanted."""
    path = tmp_path / "liste.tsv"
    path.write_bytes(b"# liste\nroulette\t1\n" + line)
    with pytest.raises(UserError, match=f"liste.tsv:3: {WRONG[line]}"):
        Words(lists=(str(path),))(batch_of("texte"))
