"""TRL's DPOTrainer around transformers' LlamaForCausalLM, on pairs that are tokenized already."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import transformers
from datasets import Dataset
from dpo_job import DpoJob, pairs_of
from job_recipe import BETAS, CLIPPING, LR, WEIGHT_DECAY, WITHOUT_END
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from turns import Turns


class Tokenized(DPOTrainer):
    """Takes the pairs as they are, and tells how long the reference's pass took, where there is one."""

    reference_seconds = 0.0

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        began = time.perf_counter()
        found = super()._precompute_ref_logps(dataset, name, batch_size)
        self.reference_seconds = (time.perf_counter() - began) / len(dataset)
        return found


class InTurn(transformers.TrainerCallback):
    """Stops the trainer between two blocks."""

    def __init__(self, batch: int) -> None:
        self._turns, self._batch, self._pairs = Turns(), batch, 0
        self.trainer: Tokenized | None = None

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._turns.wait()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        assert self.trainer is not None
        self._pairs += self._batch
        self._turns.step_done(pairs=self._pairs, reference_seconds=self.trainer.reference_seconds)


def main() -> None:
    """Train until ended."""
    job = DpoJob.from_command_line()
    callback = InTurn(job.batch)
    config = transformers.LlamaConfig(**job.dimensions)
    arguments = DPOConfig(
        output_dir=job.scratch,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=job.recompute,
        precompute_ref_log_probs=job.precompute,
        per_device_train_batch_size=job.batch,
        max_steps=WITHOUT_END,
        learning_rate=LR / 100,
        lr_scheduler_type="constant",
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=CLIPPING,
        dataloader_drop_last=True,
        save_strategy="no",
        report_to="none",
    )
    model = transformers.LlamaForCausalLM(config)
    # saved first: without a reference model given, the trainer loads the policy's folder again
    model.save_pretrained(f"{job.scratch}/initial")
    folder = Path(job.folder)
    trainer = Tokenized(
        model=f"{job.scratch}/initial",
        args=arguments,
        train_dataset=Dataset.from_list(pairs_of(folder)),
        processing_class=transformers.PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"),
        callbacks=[callback],
    )
    callback.trainer = trainer
    trainer.train()


if __name__ == "__main__":
    main()
