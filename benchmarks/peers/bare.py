"""A loop as one would write it by hand over our model: AdamW on torch's fused step, clipping, DDP where ranks are many.

In bf16 it keeps what Clapas keeps, and nothing less: fp32 masters that the optimizer steps, and the gradient in fp32
before it is clipped. A loop without masters would be faster and would train another, worse model.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.distributed as dist
from job import Job, batches
from job_recipe import recipe_of
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from turns import Turns

from clapas.model.build import build_model
from clapas.model.cpu import prepare_cpu
from clapas.model.init import initialise
from clapas.recipe.recipe import Recipe
from clapas.train.optimizers.build import build_optimizer


def model_of(job: Job, recipe: Recipe) -> nn.Module:
    """The model that Clapas trains, under DDP where there are several ranks."""
    model = build_model(recipe.model, recipe.compute)
    initialise(model, recipe.seed)
    if job.ranks == 1:
        return model
    dist.init_process_group("gloo", init_method=os.environ["CLAPAS_RENDEZVOUS"], rank=job.rank, world_size=job.ranks)
    return DistributedDataParallel(model)


def fp32_update(model: nn.Module, recipe: Recipe) -> Callable[[], None]:
    """Clip, step, zero."""
    optimizer = build_optimizer(recipe.optimizer, model)

    def update() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.optimizer.gradient_clipping)
        optimizer.step()
        optimizer.zero_grad()

    return update


def bf16_update(model: nn.Module, recipe: Recipe) -> Callable[[], None]:
    """The same on fp32 masters of a model that computes in bf16."""
    master = nn.ParameterList(nn.Parameter(p.detach().clone()) for p in model.parameters())
    optimizer = build_optimizer(recipe.optimizer, master)
    model.bfloat16()
    parameters, masters = list(model.parameters()), list(master.parameters())

    @torch.no_grad()
    def update() -> None:
        for parameter, wide in zip(parameters, masters, strict=True):
            assert parameter.grad is not None
            wide.grad = parameter.grad.float()
            parameter.grad = None
        nn.utils.clip_grad_norm_(masters, recipe.optimizer.gradient_clipping)
        optimizer.step()
        for parameter, wide in zip(parameters, masters, strict=True):
            parameter.copy_(wide)

    return update


def main() -> None:
    """Train until ended."""
    job, turns = Job.from_command_line(), Turns()
    torch.set_num_threads(job.threads)
    prepare_cpu()
    recipe = recipe_of(job)
    model = model_of(job, recipe)
    update = (bf16_update if job.precision == "bf16" else fp32_update)(model, recipe)
    turns.wait()
    for tokens_BT in map(torch.from_numpy, batches(job)):
        targets_BS = tokens_BT[:, 1:].contiguous()
        objective, _ = model(tokens_BT[:, :-1].contiguous(), targets_BS=targets_BS)
        loss = objective / targets_BS.numel()
        loss.backward()
        loss.item()  # a loop that trains looks at its loss
        update()
        turns.step_done()


if __name__ == "__main__":
    main()
