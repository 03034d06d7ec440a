"""Tasks: the figures and answers of lm-eval's own Hugging Face model on our export, and what is at hand or not."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluate.small import BOS, CONFIG, EOS, write_model, write_tokenizer

from clapas.evaluate.continuations import Scorer
from clapas.evaluate.harness.french import ALIASES, FRENCH
from clapas.evaluate.harness.library import import_library, network
from clapas.evaluate.harness.local_tasks import find_local_tasks, read_task
from clapas.evaluate.load import load
from clapas.evaluate.writer import Writer
from clapas.recipe.errors import UserError

lm_eval = pytest.importorskip("lm_eval")
import_library()

from lm_eval.api.instance import Instance  # noqa: E402 after import_library, which makes it silent
from lm_eval.models.huggingface import HFLM  # noqa: E402

from clapas.evaluate.harness.model import HarnessModel  # noqa: E402
from clapas.evaluate.harness.run import run_tasks, tasks_table  # noqa: E402
from clapas.evaluate.harness.tasks import NOT_AT_HAND, open_tasks  # noqa: E402

TEXT = "Le salarié a droit à un repos quotidien d'au moins onze heures. " * 4


def ours(folder: Path) -> HarnessModel:
    """The model as `clapas eval` makes it."""
    loaded = load(folder, device="cpu")
    scorer = Scorer(loaded.model, CONFIG.max_position_embeddings, loaded.device)
    writer = Writer(loaded.model, loaded.tokenizer, loaded.special)
    return HarnessModel(scorer, writer, loaded.tokenizer, loaded.special)


def theirs(folder: Path, prefix: int) -> Any:
    """lm-eval's own, by transformers."""
    chosen = {"dtype": "float32", "batch_size": 4, "device": "cpu", "prefix_token_id": prefix, "max_length": 96}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):  # which a run in this process leaves, and accelerate reads
            patch.delenv(name, raising=False)
        return HFLM(str(folder), **chosen)  # pyright: ignore[reportCallIssue] the library's registry hides the class


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model as `clapas export` writes one."""
    path = tmp_path_factory.mktemp("harness") / "model"
    write_model(path)
    return path


@pytest.fixture(scope="module")
def measured(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tasks that ship, on our model and on theirs."""
    return tuple(run_tasks(model, open_tasks(["local"])) for model in (ours(folder), _counted(theirs(folder, EOS))))  # pyright: ignore[reportReturnType, reportArgumentType]


def _counted(model: Any) -> Any:
    model.requests, model.cut = {}, {}  # what `run_tasks` reads of ours
    return model


def test_figures_are_those_of_the_harness(measured: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Multiple choice and generation: every metric of every task that ships."""
    own, other = measured
    assert set(own["tasks"]) == {"clapas_fr_grammaire", "clapas_fr_droit_travail", "clapas_fr_completer"}
    for name, task in own["tasks"].items():
        assert task == other["tasks"][name]
        assert task["items"] >= 20


def test_answers_are_those_of_the_harness(measured: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Item by item: log-likelihoods to 1e-4, whether greedy, and generated text to the letter."""
    own, other = measured
    for name in own["tasks"]:
        for mine, wanted in zip(own["items"][name], other["items"][name], strict=True):
            assert mine["arguments"] == wanted["arguments"]
            for (answer,), (target,) in zip(mine["resps"], wanted["resps"], strict=True):
                if isinstance(target, str):
                    assert answer == target
                else:
                    assert answer[0] == pytest.approx(target[0], abs=1e-4)
                    assert answer[1] == target[1]


@pytest.mark.parametrize("uses_bos", [False, True])
def test_whole_texts_and_bos(folder: Path, tmp_path: Path, uses_bos: bool) -> None:
    """Rolling likelihoods of texts longer than the model, and empty contexts, with BOS where the model used one."""
    write_model(tmp_path)
    if uses_bos:
        write_tokenizer(tmp_path, add_bos_token=True)
    own, other = ours(tmp_path), theirs(tmp_path, BOS if uses_bos else EOS)
    other.add_bos_token = uses_bos
    if uses_bos:  # transformers 5 takes BOS from the tokenizer's post-processor alone
        encode = other.tokenizer.encode
        other.tokenizer.encode = lambda text, add_special_tokens=True, **_: (
            [BOS] * bool(add_special_tokens) + encode(text, add_special_tokens=False)
        )
    rolling = [Instance("loglikelihood_rolling", {}, (TEXT[:length],), 0) for length in (5, 96, 97, 200)]
    assert own.loglikelihood_rolling(rolling) == pytest.approx(other.loglikelihood_rolling(rolling), abs=1e-3)
    pairs = [Instance("loglikelihood", {}, pair, 0) for pair in (("", "Oui."), ("Donc ", "non"), ("Ah", " oui"))]
    mine, wanted = own.loglikelihood(pairs), other.loglikelihood(pairs)
    assert [value for value, _ in mine] == pytest.approx([value for value, _ in wanted], abs=1e-4)


def test_what_is_cut_is_told(measured: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Requests longer than the model lose their beginning, and the table says how many."""
    own, _ = measured
    assert own["cut"]["loglikelihood"] > 0
    assert "their beginning was cut" in tasks_table(own)


def test_random_states_are_left_alone(folder: Path) -> None:
    """Training goes on as if nothing had been measured."""

    def drawn() -> list[float]:
        return [random.random(), float(np.random.random()), float(torch.rand(()))]

    seed()
    expected = drawn()
    seed()
    run_tasks(ours(folder), open_tasks(["clapas_fr_completer"]), limit=2, num_fewshot=1)
    assert drawn() == expected


def seed() -> None:
    """All three generators."""
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)


def test_a_seed_chooses_the_examples(folder: Path, tmp_path: Path) -> None:
    """Few-shot examples are drawn by the seed: equal seeds give equal prompts."""
    task = _write_task(tmp_path, items=8)

    def prompts(seed: int) -> list[Any]:
        found = run_tasks(ours(folder), open_tasks([str(task)]), num_fewshot=2, seed=seed)
        assert found["tasks"]["mienne"]["num_fewshot"] == 2
        return [item["arguments"] for item in found["items"]["mienne"]]

    assert prompts(1) == prompts(1)
    assert prompts(1) != prompts(2)


def test_missing_data_stop_no_other_task(folder: Path) -> None:
    """A French task of the harness's without its data is named; ours run beside it, and nothing is fetched."""
    opened = open_tasks(["belebele_fra_Latn", "clapas_fr_completer"])
    found = run_tasks(ours(folder), opened, limit=2)
    assert list(found["tasks"]) == ["clapas_fr_completer"]
    assert found["not_run"]["belebele_fra_Latn"].startswith(NOT_AT_HAND)
    assert "not run: belebele_fra_Latn: data not at hand" in tasks_table(found)
    with pytest.raises(UserError, match="no task can be run"):
        run_tasks(ours(folder), open_tasks(["belebele_fra_Latn"]))


def test_a_measurement_leaves_the_network_as_it_was(folder: Path) -> None:
    """No request while tasks are opened and run; a publication by the same process, or by one it starts, goes out."""
    import datasets.config
    import huggingface_hub.constants as hub

    before = dict(os.environ), datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE
    with network(False):
        assert os.environ["HF_HUB_OFFLINE"] == os.environ["HF_DATASETS_OFFLINE"] == "1"
        assert datasets.config.HF_HUB_OFFLINE
        assert hub.is_offline_mode()
    run_tasks(ours(folder), open_tasks(["clapas_fr_completer", "belebele_fra_Latn"]), limit=1, bootstrap=0)
    assert (dict(os.environ), datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE) == before


def test_the_french_names_are_the_harnesses() -> None:
    """Every name of the list is there in the installed release, in the folder that we look in."""
    from lm_eval.tasks import TaskManager

    root = Path(lm_eval.__file__).parent / "tasks"
    for name, folder in FRENCH.items():
        assert name in TaskManager(include_path=str(root / folder), include_defaults=False).task_index, name
    assert set(ALIASES["french"]) == set(FRENCH)
    assert {name for names in ALIASES.values() for name in names} <= set(FRENCH)


def _write_task(folder: Path, items: int, name: str = "mienne") -> Path:
    lines = [f'{{"question": "Combien font {n} et 1 ?", "answer": "{n + 1}"}}\n' for n in range(items)]
    (folder / "mine.jsonl").write_text("".join(lines))
    path = folder / f"{name}.yaml"
    path.write_text(
        f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files: {{test: mine.jsonl, train: mine.jsonl}}\n"
        "output_type: generate_until\ntest_split: test\nfewshot_split: train\ndoc_to_text: '{{question}}'\n"
        "doc_to_target: answer\ngeneration_kwargs: {until: ['\\n'], max_gen_toks: 4}\n"
        "metric_list: [{metric: exact_match}]\n"
    )
    return path


def test_mistakes_in_tasks_are_told(tmp_path: Path) -> None:
    """An unknown name, a file that is no task, missing or broken data: what, and where."""
    with pytest.raises(UserError, match=r"did you mean clapas_fr_grammaire"):
        find_local_tasks(["clapas_fr_gramaire"])
    with pytest.raises(UserError, match="no such task"):
        open_tasks(["no_such_task_of_lm_eval"])
    path = _write_task(tmp_path, items=2)
    assert read_task(path).generates
    (tmp_path / "mine.jsonl").write_text('{"question": 1}\nnot json\n')
    with pytest.raises(UserError, match=r"mine\.jsonl:2: not JSON"):
        open_tasks([str(path)])
    (tmp_path / "mine.jsonl").unlink()
    with pytest.raises(UserError, match="data is missing"):
        open_tasks([str(path)])
    path.write_text("- a list\n")
    with pytest.raises(UserError, match="not a task"):
        open_tasks([str(path)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no task here"):
        open_tasks([str(tmp_path / "empty")])
