"""LitGPT's pretraining, as `litgpt pretrain` runs it: its own model, Fabric and loop. Compiled, for it always is.

Runs in a virtual environment of its own, for LitGPT and transformers want other releases of huggingface_hub:
`python -m venv .venv-litgpt && .venv-litgpt/bin/pip install torch==2.13.0 litgpt==0.5.13 tensorboard`.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from job import Job, Samples, batches
from litgpt import Config
from litgpt.args import EvalArgs, TrainArgs
from litgpt.data import DataModule
from litgpt.pretrain import setup
from torch.utils.data import DataLoader, IterableDataset
from turns import Turns

from clapas.model.cpu import prepare_cpu

WITHOUT_END = 10**12  # tokens


class Stream(IterableDataset[torch.Tensor]):
    """Samples in order. Between two of LitGPT's steps it asks for the next batch: that is where its turn ends."""

    def __init__(self, job: Job, turns: Turns) -> None:
        self._job, self._turns = job, turns

    def __iter__(self) -> Iterator[torch.Tensor]:
        for step, rows in enumerate(batches(self._job)):
            if step:
                self._turns.step_done()
            else:
                self._turns.wait()
            yield from torch.from_numpy(rows)


class Shard(DataModule):
    """The benchmark's tokens."""

    def __init__(self, job: Job, turns: Turns) -> None:
        super().__init__()
        self._job, self._turns = job, turns

    def connect(self, tokenizer: object = None, batch_size: int = 1, max_seq_length: int = -1) -> None:
        """LitGPT's sizes are the job's already."""

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        return DataLoader(Stream(self._job, self._turns), batch_size=self._job.batch)

    def val_dataloader(self) -> DataLoader[torch.Tensor]:
        samples = Samples(self._job)
        held_out = [torch.from_numpy(samples[index]) for index in range(self._job.batch)]
        return DataLoader(held_out, batch_size=self._job.batch)  # pyright: ignore[reportArgumentType] a list is a data set


def config_of(job: Job) -> Config:
    """The same shape as ours."""
    shape = job.shape
    return Config(
        name="benchmark",
        block_size=job.sequence_length,
        padded_vocab_size=shape.vocab_size,
        vocab_size=shape.vocab_size,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_embd=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
    )


def main() -> None:
    """Train until ended."""
    job, turns = Job.from_command_line(), Turns()
    torch.set_num_threads(job.threads)
    if job.cpu_settings:
        prepare_cpu()
    if not job.compile:
        torch.compiler.set_stance("force_eager")
    setup(
        model_name="benchmark",
        model_config=config_of(job),
        out_dir=Path(job.scratch),
        precision="32-true",
        data=Shard(job, turns),
        train=TrainArgs(
            save_interval=None,
            log_interval=1,
            global_batch_size=job.batch,
            micro_batch_size=job.batch,
            max_tokens=WITHOUT_END,
            max_seq_length=job.sequence_length,
            lr_warmup_steps=1,
            max_norm=1.0,
            tie_embeddings=True,
        ),
        eval=EvalArgs(interval=10**9, max_iters=1),
        logger_name="csv",
        devices=1,
    )


if __name__ == "__main__":
    main()
