"""A typed file's mistakes are told by file, line, key, value, what is allowed and the nearest known key."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import Field, PositiveInt

from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe, read_recipe
from clapas.recipe.typed import Section, read_typed


class Optimizer(Section):
    """A part."""

    also_called: ClassVar[dict[str, str]] = {"learning_rate": "lr"}
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)


class Run(Section):
    """A whole."""

    name: str
    steps: PositiveInt = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    optimizer: Optimizer = Optimizer()
    sources: tuple[Optimizer, ...] = ()
    mixture: dict[str, float] | None = None
    groups: dict[str, Optimizer] = Field(default_factory=dict)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def error_of(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        read_typed(path, Run, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_numbers_mean_what_people_mean(tmp_path: Path) -> None:
    """4e-3 is a number (YAML 1.1 says it is text), 1_000 is a thousand, no is a word."""
    path = write(tmp_path / "a.yaml", "name: no\nsteps: 1_000\noptimizer: {lr: 4e-3}\n")
    run = read_typed(path, Run)
    assert (run.name, run.steps, run.optimizer.lr) == ("no", 1000, 0.004)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimizer: {learning_rat: 1}\n", "a.yaml:1: optimizer.learning_rat: unknown key; did you mean optimizer.lr?"),
        ("name: x\nstep: 3\n", "a.yaml:2: step: unknown key; did you mean steps?"),
        ("name: x\nlr: 3\n", "a.yaml:2: lr: unknown key; did you mean optimizer.lr?"),
        ("name: x\nsteps: many\n", "a.yaml:2: steps: found 'many'; input should be a valid integer"),
        ("name: x\nsteps: 0\n", "a.yaml:2: steps: found 0; input should be greater than 0"),
        ("name: x\nprecision: fp8\n", "a.yaml:2: precision: found 'fp8'; input should be 'fp32' or 'bf16'"),
        ("name: x\nsources:\n- lr: 1\n- lrr: 1\n", "a.yaml:4: sources[1].lrr: unknown key"),
        ("steps: 3\n", "name: missing"),
        ("name: x\nname: y\n", "a.yaml:2: name: given twice"),
        ("name: [x\n", "not valid YAML"),
        ("- a\n- b\n", "a.yaml:1: not a mapping"),
        ("name: x\noptimizer: 3\n", "a.yaml:2: optimizer: found 3"),
        ("name: x\noptimizer: {lr: .nan}\n", "a.yaml:2: optimizer.lr: found nan"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_line_key_value_and_way_out(tmp_path: Path, text: str, expected: str) -> None:
    """One message for each kind of mistake."""
    assert expected in error_of(write(tmp_path / "a.yaml", text))


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Nobody mends a file one mistake at a time."""
    message = error_of(write(tmp_path / "a.yaml", "name: x\nsteps: 0\nprecision: fp8\nfoo: 1\n"))
    assert len(message.splitlines()) == 3


def test_not_utf8(tmp_path: Path) -> None:
    """The byte and its place."""
    path = tmp_path / "a.yaml"
    path.write_bytes("name: été".encode("latin-1"))
    assert "not UTF-8" in error_of(path)
    assert "0xe9" in error_of(path)


def test_missing_file(tmp_path: Path) -> None:
    """Names the file."""
    assert "nowhere.yaml: no such file" in error_of(tmp_path / "nowhere.yaml")


def test_overrides_are_typed_and_checked_like_the_file(tmp_path: Path) -> None:
    """Dotted keys; a mistake is said to be on the command line."""
    path = write(tmp_path / "a.yaml", "name: x\n")
    run = read_typed(path, Run, ["optimizer.lr=3e-4", "optimizer.betas=[0.8, 0.9]", "steps=7"])
    assert (run.optimizer.lr, run.optimizer.betas, run.steps) == (3e-4, (0.8, 0.9), 7)
    assert "command line: optimizer.lrr: unknown key; did you mean optimizer.lr?" in error_of(path, "optimizer.lrr=1")
    assert "command line: steps: found 'x'" in error_of(path, "steps=x")
    assert "not an override" in error_of(path, "steps")


def test_a_child_overrides_its_parent_key_by_key(tmp_path: Path) -> None:
    """`extends:` merges mappings; a mistake in the parent is told at the parent's line."""
    write(tmp_path / "base.yaml", "name: base\nsteps: 5\noptimizer:\n  lr: 1e-2\n  betas: [0.5, 0.6]\n")
    run = read_typed(write(tmp_path / "a.yaml", "extends: base.yaml\nname: child\noptimizer: {lr: 2e-2}\n"), Run)
    assert (run.name, run.steps, run.optimizer.lr, run.optimizer.betas) == ("child", 5, 0.02, (0.5, 0.6))
    write(tmp_path / "base.yaml", "name: base\nstesp: 5\n")
    assert "base.yaml:2: stesp: unknown key; did you mean steps?" in error_of(tmp_path / "a.yaml")


def test_a_childs_mapping_takes_the_place_of_its_parents(tmp_path: Path) -> None:
    """A mixture is one value: merged with the parent's it would name sources that the child's data do not have."""
    write(tmp_path / "base.yaml", "name: base\nmixture: {a: 1, b: 2}\n")
    assert read_typed(write(tmp_path / "a.yaml", "extends: base\nmixture: {c: 3}\n"), Run).mixture == {"c": 3}


def test_named_sections_are_merged_by_name(tmp_path: Path) -> None:
    """A child adds a named section, or changes one key of it."""
    write(tmp_path / "base.yaml", "name: base\ngroups:\n  a: {lr: 1}\n  b: {lr: 2, betas: [0.1, 0.2]}\n")
    child = write(tmp_path / "a.yaml", "extends: base\ngroups:\n  b: {lr: 3}\n  c: {lr: 4}\n")
    groups = read_typed(child, Run).groups
    assert {name: group.lr for name, group in groups.items()} == {"a": 1, "b": 3, "c": 4}
    assert groups["b"].betas == (0.1, 0.2)


def test_a_shipped_recipe_can_be_extended_by_name(tmp_path: Path) -> None:
    """From anywhere: recipes travel in the wheel."""
    recipe = read_recipe(write(tmp_path / "mine.yaml", "extends: test\nname: mine\n"))
    assert (recipe.name, recipe.model.hidden_size) == ("mine", 64)


def test_a_circle_of_parents(tmp_path: Path) -> None:
    """Found, not followed."""
    write(tmp_path / "a.yaml", "extends: b\n")
    write(tmp_path / "b.yaml", "extends: a\n")
    assert "extends itself: a.yaml -> b.yaml -> a.yaml" in error_of(tmp_path / "a.yaml")
    write(tmp_path / "c.yaml", "extends: nobody\n")
    assert "c.yaml:1: extends: no such file" in error_of(tmp_path / "c.yaml")


def test_a_recipe_remembers_the_line_of_each_key(tmp_path: Path) -> None:
    """For checks that come after reading: the key's own line, its parent's, the override, or the file."""
    path = write(tmp_path / "mine.yaml", "extends: test\nparallel:\n  zero_stage: 2\n")
    recipe = read_recipe(path, ["precision=bf16"])
    assert recipe.place("parallel.zero_stage") == f"{path}:3"
    assert recipe.place("precision") == "command line"
    assert recipe.place("train.global_batch_size").endswith("recipes/test.yaml:24")
    assert recipe.place("train.threads").endswith("recipes/test.yaml:22")  # not given: its section
    assert recipe.place("telemetry.log_every") == str(path)


def test_where_a_recipe_was_read_does_not_make_it_another(tmp_path: Path) -> None:
    """The same values from another file, or from no file, are the same recipe."""
    path = write(tmp_path / "mine.yaml", "extends: test\n")
    recipe = read_recipe("test")
    in_memory = Recipe.model_validate(recipe.model_dump())
    assert read_recipe(path) == recipe == in_memory
    assert in_memory.place("precision") == "recipe test"


def test_numbers_over_a_list_of_sections_change_these_items(tmp_path: Path) -> None:
    """In a child and on the command line; what is not named stays. A mistake is told where it was made."""
    write(tmp_path / "base.yaml", "name: base\nsources: [{lr: 1, betas: [0.1, 0.2]}, {lr: 2}]\n")
    child = write(tmp_path / "a.yaml", "extends: base\nsources:\n  1: {lr: 3}\n")
    sources = read_typed(child, Run, ["sources.0.lr=4"]).sources
    assert [source.lr for source in sources] == [4, 3]
    assert sources[0].betas == (0.1, 0.2)
    assert "command line: sources[1].lr: found 'x'" in error_of(child, "sources.1.lr=x")
    assert "sources has no parts" in error_of(child, "sources.2.lr=1")
    write(child, "extends: base\nsources:\n  1: {lrr: 3}\n")
    assert "a.yaml:3: sources[1].lrr: unknown key; did you mean sources[1].lr?" in error_of(child)


def test_a_file_of_overrides_lies_over_the_recipe(tmp_path: Path) -> None:
    """Merged as a child is; what follows it on the command line counts more."""
    path = write(tmp_path / "a.yaml", "name: x\nsteps: 5\noptimizer: {lr: 1, betas: [0.1, 0.2]}\n")
    over = write(tmp_path / "over.yaml", "steps: 6\noptimizer: {lr: 2}\n")
    run = read_typed(path, Run, [str(over), "steps=7"])
    assert (run.steps, run.optimizer.lr, run.optimizer.betas) == (7, 2, (0.1, 0.2))
    assert read_typed(path, Run, ["steps=7", str(over)]).steps == 6
    write(over, "steps: none\n")
    assert "over.yaml:1: steps: found 'none'" in error_of(path, str(over))
    assert "nobody.yaml: no such file" in error_of(path, "nobody.yaml")
