"""The loss and its gradient are those of TRL's GRPOTrainer on the same rollouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clapas.model.config import ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.hf_config import to_hf_config
from clapas.tune.grpo.config import Grpo
from clapas.tune.grpo.loss import policy_loss
from clapas.tune.grpo.policy import scored
from clapas.tune.grpo.rollouts import Completion, Rollout, RolloutBatch, collate_rollouts

VOCABULARY, PAD = 64, 0
TEMPERATURE = 0.7
PROMPTS = ([5, 6, 7], [8, 9, 10, 11, 12])
COMPLETIONS = ([20, 21, 22, 1], [23, 24], [25, 26, 27, 28, 29, 30], [31, 1])
ADVANTAGES = (1.2, -0.7, 0.4, -0.9)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[CausalLM, Path]:
    """One model: ours, and a folder from which transformers and TRL (its reference) read it."""
    import transformers

    config = ModelConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        vocab_size=VOCABULARY,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    fields = to_hf_config(config, eos=1, bos=None, pad=PAD, dtype="float32")
    torch.manual_seed(3)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**fields))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.mul_(8 if parameter.dim() == 2 else 1)  # far from uniform: clipping has something to clip
    ours = CausalLM(config)
    ours.load_state_dict(theirs.state_dict())
    folder = tmp_path_factory.mktemp("model")
    theirs.save_pretrained(folder)
    return ours, folder


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """One that transformers takes: TRL looks for its ids."""
    import tokenizers
    import transformers

    vocabulary = {"<pad>": PAD, "<eos>": 1, **{f"w{number}": number for number in range(2, VOCABULARY)}}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<pad>"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, pad_token="<pad>", eos_token="<eos>")


def rollouts() -> RolloutBatch:
    """Four completions of two prompts, sampled by a policy a little different from any."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for number, (tokens, advantage) in enumerate(zip(COMPLETIONS, ADVANTAGES, strict=True)):
        old = (-4 + 2 * torch.rand(len(tokens), generator=generator)).tolist()
        made.append(Rollout(PROMPTS[number // 2], Completion(tokens, old), advantage, 0))
    return collate_rollouts(made, PAD, units_are_tokens=False)


def right_padded(rows: list[Tensor], fill: float) -> Tensor:
    """(B, T)."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)


def trl_inputs(batch: RolloutBatch, reference: Tensor | None) -> dict[str, Any]:
    """The same rollouts as TRL holds them: prompts padded on the left, completions on the right."""
    prompts = [torch.tensor(PROMPTS[number // 2]) for number in range(len(COMPLETIONS))]
    reversed_prompts = right_padded([prompt.flip(0) for prompt in prompts], PAD)
    completions = [torch.tensor(tokens) for tokens in COMPLETIONS]

    def targets_of(values_BS: Tensor) -> Tensor:
        return right_padded([row[target >= 0] for row, target in zip(values_BS, batch.targets, strict=True)], 0.0)

    inputs = {
        "prompt_ids": reversed_prompts.flip(1),
        "prompt_mask": right_padded([torch.ones_like(prompt) for prompt in prompts], 0).flip(1),
        "completion_ids": right_padded(completions, PAD),
        "completion_mask": right_padded([torch.ones_like(tokens) for tokens in completions], 0),
        "advantages": torch.tensor(ADVANTAGES),
        "old_per_token_logps": targets_of(batch.sampled_BS),
        "num_items_in_batch": torch.tensor(float(sum(map(len, COMPLETIONS)))),
    }
    return inputs if reference is None else inputs | {"ref_per_token_logps": targets_of(reference)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "beta", "epsilon_high"),
    [("dapo", 0.0, None), ("dapo", 0.1, 0.28), ("grpo", 0.1, 0.28), ("dr_grpo", 0.04, None)],
)
def test_loss_and_gradient_are_trls(
    model_folder: tuple[CausalLM, Path],
    tokenizer: Any,
    tmp_path: Path,
    loss: str,
    beta: float,
    epsilon_high: float | None,
) -> None:
    """Same tokens, advantages, old and reference log-probabilities: the same loss, and the same gradient by each
    weight, to 1e-5."""
    import transformers
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    ours, folder = model_folder
    theirs = transformers.LlamaForCausalLM.from_pretrained(folder)
    config = GRPOConfig(
        output_dir=str(tmp_path),
        loss_type=loss,
        beta=beta,
        epsilon=0.2,
        epsilon_high=epsilon_high,
        temperature=TEMPERATURE,
        max_completion_length=9,
        num_generations=2,
        per_device_train_batch_size=4,
        use_cpu=True,
        bf16=False,
        report_to=[],
    )
    trainer = GRPOTrainer(
        model=theirs,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["w2 w3"] * 4}),
        processing_class=tokenizer,
    )
    trainer.current_gradient_accumulation_steps = 1
    objective = Grpo.model_validate(
        {
            "name": "grpo",
            "rewards": [{"name": "length"}],
            "loss": loss,
            "beta": beta,
            "epsilon_high": epsilon_high,
            "temperature": TEMPERATURE,
            "max_new_tokens": 9,
        }
    )
    batch = rollouts()
    reference = None
    if beta:
        generator = torch.Generator().manual_seed(1)
        reference = (batch.sampled_BS - torch.rand(batch.sampled_BS.shape, generator=generator)) * (batch.targets >= 0)
        batch = replace(batch, reference_BS=reference)
    theirs.zero_grad()
    wanted = trainer._compute_loss(theirs, trl_inputs(batch, reference))
    wanted.backward()

    ours.zero_grad()
    log_p_BS, _, _ = scored(ours, batch, TEMPERATURE)
    found = policy_loss(log_p_BS, batch, objective)
    units = batch.target_count if loss == "dapo" else len(COMPLETIONS)
    mean = found.loss_B.sum() / units
    mean.backward()
    assert int(found.clipped) > 0
    assert mean.item() == pytest.approx(wanted.item(), rel=1e-5)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-5, atol=1e-5)
