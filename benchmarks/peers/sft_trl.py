"""TRL's SFTTrainer on the same conversations, template, model and loss on the assistant's tokens; packed or not.

Only what makes the work the same is set: sizes, optimizer, clipping, fp32, no checkpointing of activations; evaluation,
saving and reports are off. Packed where the job says `compile`: its own `packing=True`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# alone it needs no DDP around its model, which would cost it
os.environ.pop("RANK", None)
os.environ.pop("LOCAL_RANK", None)
os.environ.pop("WORLD_SIZE", None)

import datasets
import transformers
import trl
from hf_trainer import model_of
from job import Job
from job_recipe import BETAS, CLIPPING, LR, WEIGHT_DECAY, WITHOUT_END
from turns import Turns

from clapas.model.cpu import prepare_cpu


class Counting(trl.SFTTrainer):  # pyright: ignore[reportPrivateImportUsage] - lazy
    """Counts the tokens that are no padding."""

    tokens = steps = 0

    def training_step(self, model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
        """As its parent's."""
        mask = inputs.get("attention_mask")
        self.tokens += int(inputs["input_ids"].numel() if mask is None else mask.sum())
        self.steps += 1
        return super().training_step(model, inputs, *arguments, **named)


class InTurn(transformers.TrainerCallback):
    """Stops the trainer between two blocks."""

    def __init__(self) -> None:
        self._turns = Turns()
        self.trainer: Counting | None = None

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._turns.wait()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        assert self.trainer is not None
        self._turns.step_done(tokens=self.trainer.tokens, steps=self.trainer.steps)


def main() -> None:
    """Train until ended. tokens of the job: the folder of examples, beside the rows that it was made of."""
    job, callback = Job.from_command_line(), InTurn()
    prepare_cpu()
    folder = Path(job.tokens)
    lines = folder.with_name("rows.jsonl").read_text().splitlines()
    arguments = trl.SFTConfig(  # pyright: ignore[reportPrivateImportUsage] - lazy
        output_dir=job.scratch,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=job.batch,
        max_length=job.sequence_length,
        packing=job.compile,
        assistant_only_loss=True,
        max_steps=WITHOUT_END,
        learning_rate=LR,
        lr_scheduler_type="constant",
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=CLIPPING,
        logging_steps=500,
        save_strategy="no",
        report_to="none",
    )
    trainer = Counting(
        model_of(job),
        arguments,
        train_dataset=datasets.Dataset.from_list([{"messages": json.loads(line)["messages"]} for line in lines]),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder / "tokenizer"),
        callbacks=[callback],
    )
    callback.trainer = trainer
    trainer.train()


if __name__ == "__main__":
    main()
