"""Hugging Face's Trainer with DeepSpeed ZeRO-1 around its LlamaForCausalLM, as they come.

Only what a run needs is set: sizes, optimizer, clipping; evaluation, saving and reports are off, logging is at its
default (every 500 steps). DeepSpeed's build of `shm_comm` at start-up (80-100 s) is skipped, to Trainer's gain.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["DS_ACCELERATOR"] = "cpu"

import torch
import transformers
from deepspeed.ops import __compatible_ops__
from job import Job, Samples
from job_recipe import BETAS, CLIPPING, LR, WEIGHT_DECAY, WITHOUT_END
from turns import Turns

from clapas.model.cpu import prepare_cpu


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Samples as Trainer wants them: it shifts the labels itself."""

    def __init__(self, job: Job) -> None:
        self._samples = Samples(job)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = torch.from_numpy(self._samples[index][:-1])
        return {"input_ids": tokens, "labels": tokens}


class InTurn(transformers.TrainerCallback):
    """Stops Trainer between two blocks."""

    def __init__(self) -> None:
        self._turns = Turns()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._turns.wait()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._turns.step_done()


def model_of(job: Job) -> transformers.LlamaForCausalLM:
    """The same shape as ours."""
    shape = job.shape
    config = transformers.LlamaConfig(
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate_size,
        vocab_size=shape.vocab_size,
        max_position_embeddings=job.sequence_length,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config)


def main() -> None:
    """Train until ended."""
    job, callback = Job.from_command_line(), InTurn()
    __compatible_ops__["deepspeed_shm_comm"] = False
    if job.cpu_settings:
        prepare_cpu()
    arguments = transformers.TrainingArguments(
        output_dir=job.scratch,
        use_cpu=True,
        per_device_train_batch_size=job.batch,
        max_steps=WITHOUT_END,
        learning_rate=LR,
        lr_scheduler_type="constant",
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=CLIPPING,
        dataloader_num_workers=0,
        save_strategy="no",
        report_to="none",
        torch_compile=job.compile,
        deepspeed={
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "zero_optimization": {"stage": job.zero_stage},
            "zero_allow_untested_optimizer": True,
        },
    )
    trainer = transformers.Trainer(model_of(job), arguments, train_dataset=Rows(job), callbacks=[callback])
    trainer.train()


if __name__ == "__main__":
    main()
