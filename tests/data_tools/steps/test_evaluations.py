"""Passages of evaluation sets in documents: all of them, no others, whatever stands between the words."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clapas.recipe.errors import UserError
from clapas_data.pipeline import run_steps
from clapas_data.steps.evaluations import Evaluations
from clapas_data.text.batch import TextBatch


def batch_of(*texts: str) -> TextBatch:
    return TextBatch(texts, ids=[str(place) for place in range(len(texts))])


def words_of(*numbers: int) -> str:
    return " ".join(f"mot{number}" for number in numbers)


def step_of(folder: Path, *texts: str, **options: object) -> Evaluations:
    (folder / "quiz.jsonl").write_text("\n".join(json.dumps({"question": text}) for text in texts))
    sets = {"quiz": {"files": "quiz.jsonl", "fields": ["question"]}}
    return Evaluations.model_validate({"sets": sets, **options}).under(folder)


def test_as_a_plain_search(tmp_path: Path) -> None:
    """Random documents of few words, against sets of Python tuples: the same documents, the same number of hits."""
    rng = random.Random(0)
    stream = [rng.choice("abcdef") * rng.randint(1, 2) for _ in range(40_000)]
    texts = [" ".join(stream[at : at + rng.randint(5, 40)]) for at in range(0, 20_000, 100)]
    documents = [" ".join(stream[at : at + 120]) for at in range(0, 39_000, 150)]
    wanted = {}
    for text in texts:
        own = tuple(text.split())
        if len(own) >= 8:
            grams = [own] if len(own) < 13 else [own[at : at + 13] for at in range(len(own) - 12)]
            wanted |= dict.fromkeys(grams)
    sizes = {len(gram) for gram in wanted}
    assert sizes == {8, 9, 10, 11, 12, 13}
    hits = [
        sum(tuple(own[at : at + size]) in wanted for size in sizes for at in range(len(own) - size + 1))
        for own in map(str.split, documents)
    ]
    outcome = step_of(tmp_path, *texts)(batch_of(*documents))
    assert outcome.values["quiz"].tolist() == hits
    assert outcome.rejected["quiz"].tolist() == [hit > 0 for hit in hits]
    assert outcome.counts == {"quiz": sum(hits)}
    assert 20 < sum(hit > 0 for hit in hits) < 200


def test_case_and_punctuation_are_nothing(tmp_path: Path) -> None:
    """13 words are a hit; 12 of a longer text are none, nor 13 over the border of two documents."""
    question = "Quelle est la capitale de l'Hérault, où coule le Lez, en Occitanie ?"  # 13 words
    same = "... QUELLE est la capitale\nde l’HÉRAULT — où coule « le Lez » en Occitanie: etc"
    step = step_of(tmp_path, question, words_of(*range(20)))
    batch = batch_of(same, same.replace("Occitanie", "France"), words_of(*range(12)), words_of(*range(12, 20)))
    assert step(batch).rejected["quiz"].tolist() == [True, False, False, False]
    assert step.model_copy(update={"hits": 2})(batch_of(same, words_of(*range(14)))).rejected["quiz"].tolist() == [
        False,
        True,
    ]


def test_short_texts(tmp_path: Path) -> None:
    """A text of 8 to 12 words is looked for whole; a shorter one not at all."""
    step = step_of(tmp_path, words_of(*range(8)), words_of(*range(100, 107)), words_of(*range(200, 212)))
    documents = [
        words_of(*range(-3, 9)),
        words_of(*range(99, 120)),
        words_of(*range(200, 211)),
        words_of(*range(199, 215)),
    ]
    assert step(batch_of(*documents)).rejected["quiz"].tolist() == [True, False, False, True]


def test_sets_of_all_kinds(tmp_path: Path) -> None:
    """Fields in lists and mappings, compressed files, Parquet, plain text; each set has its own reason."""
    long = [words_of(*range(start, start + 20)) for start in range(0, 600, 100)]
    rows = [{"q": long[0], "answers": [{"text": long[1]}, {"text": "court"}], "n": None}]
    with pa.CompressedOutputStream(str(tmp_path / "a.jsonl.zst"), "zstd") as file:
        file.write("\n".join(map(json.dumps, rows)).encode())
    pq.write_table(pa.table({"choices": [[long[2], "b"], None], "n": [1, 2]}), tmp_path / "b.parquet")
    (tmp_path / "c.txt").write_text(f"{long[3]}\n{long[0]}")
    sets = {
        "a": {"files": ["a.*"], "fields": ["q", "answers.text", "n"]},
        "b": {"files": "b.parquet", "fields": ["choices"]},
        "c": {"files": "c.txt"},
    }
    step = Evaluations.model_validate({"sets": sets}).under(tmp_path)
    passed = run_steps([step], batch_of(*long))
    assert [int(place) for place in passed.kept] == [4, 5]
    assert passed.counts[0].reasons == {"a": 2, "b": 1, "c": 1}
    assert passed.counts[0].counts == {"a": 16, "b": 8, "c": 16}
    before = step.identity()
    (tmp_path / "c.txt").write_text(long[4])
    assert step.identity() != before
    assert step(batch_of(*long)).rejected["c"].tolist() == [place == 4 for place in range(6)]  # not the old index


def test_cut(tmp_path: Path) -> None:
    """The passage goes, with 200 characters on both sides; a small document goes with it, and one in many pieces."""
    passage = words_of(*range(20))
    before, after = "avant " * 100, "après " * 100
    step = step_of(tmp_path, passage, action="cut")
    many = (passage + " " + "entre " * 120) * 12
    passed = run_steps([step], batch_of(f"{before}{passage} {after}", many, f"peu {passage} peu", "rien de tel"))
    assert passed.kept.tolist() == [0, 3]
    assert not re.search("mot", passed.texts[0])
    first, second = passed.texts[0].split("\n\n")
    assert (len(first), len(second)) == (len(before) - 200, len(after) - 200)
    assert (passed.counts[0].changed, passed.counts[0].reasons) == (1, {"quiz": 2})


WRONG = {
    "fields: [reponse]": "quiz.jsonl:1: no field reponse(.|\n)*question",
    "files: rien.jsonl": "evaluation set quiz: no such file",
    "files: bad.jsonl": "bad.jsonl:2: not JSON",
    "files: bad.parquet": "not a sound Parquet file",
    "files: bad.jsonl.gz": "not a sound compressed file",
    "files: quiz.csv": "not a kind of file",
    "files: short.jsonl": "nothing to look for",
}


@pytest.mark.parametrize("option", WRONG)
def test_bad_sets(option: str, tmp_path: Path) -> None:
    """A set that is not what it should be is named with its file, line and what is there."""
    (tmp_path / "bad.jsonl").write_text('{"question": "a"}\nrien\n')
    for name in ("bad.parquet", "bad.jsonl.gz", "quiz.csv"):
        (tmp_path / name).write_text("rien du tout, et même moins")
    (tmp_path / "short.jsonl").write_text('{"question": "trois petits mots"}')
    step = step_of(tmp_path, words_of(*range(20)))
    key, _, value = option.partition(": ")
    change = (str(tmp_path / value),) if key == "files" else (value.strip("[]"),)
    own = step.sets["quiz"].model_copy(update={key: change})
    with pytest.raises(UserError, match=WRONG[option]):
        step.model_copy(update={"sets": {"quiz": own}})(batch_of("texte"))
