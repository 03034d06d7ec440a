"""vLLM beside the training on each rank's GPU: an offline engine in this process, handed the weights at each step.

vLLM is asked for log-probabilities after temperature and filters; what sampling and training then compute differently
the loss's ratio makes up for. Its completions do not depend on their neighbours but for rounding: each has a seed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from torch import Tensor

from clapas.engine.whole_weights import whole_weights
from clapas.model.hf_config import Dtype, to_hf_config
from clapas.model.lora import merged_weights
from clapas.model.lora_config import is_adapter
from clapas.recipe.errors import UserError
from clapas.tune.grpo.config import Grpo
from clapas.tune.grpo.rollouts import Completion
from clapas.tune.objective import Training

DTYPES: dict[str, Dtype] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp8": "bfloat16"}
"""A precision -> what vLLM calls that of its weights."""


class VllmEngine:
    """Every rank has an engine of its own, with the whole model. Raises UserError where vLLM or the GPU is missing."""

    def __init__(self, run: Training, objective: Grpo, *, ends: Collection[int], vocabulary: int) -> None:
        self.run, self._vllm = run, _import(run)
        self._sampling = {
            "temperature": objective.temperature,
            "top_p": objective.top_p,
            "max_tokens": objective.max_new_tokens,
            "stop_token_ids": sorted(ends),
            "ignore_eos": True,  # the data's own ends, and no other
            "logprobs": 0,  # of the chosen token
            "detokenize": False,
            "allowed_token_ids": None if vocabulary >= run.recipe.model.vocab_size else list(range(vocabulary)),
        }
        with tempfile.TemporaryDirectory() as folder:
            config = to_hf_config(
                run.recipe.model, eos=min(ends), bos=None, pad=None, dtype=DTYPES[run.recipe.precision]
            )
            (Path(folder) / "config.json").write_bytes(orjson.dumps(config))
            self._engine: Any = self._vllm.LLM(
                model=folder,
                skip_tokenizer_init=True,
                load_format="dummy",
                dtype=DTYPES[run.recipe.precision],
                max_model_len=run.recipe.data.sequence_length + objective.max_new_tokens,
                gpu_memory_utilization=objective.vllm_gpu_memory_utilization,
                distributed_executor_backend="external_launcher",
                logprobs_mode="processed_logprobs",
                enable_prefix_caching=True,  # a group shares its prompt
                seed=run.recipe.seed % 2**31,
            )

    def begin_step(self) -> None:
        """Hand over the weights, a tensor at a time; what was cached of the old ones is forgotten. Collective."""
        model = self._engine.llm_engine.model_executor.driver_worker.model_runner.model
        for name, weight in policy_weights(self.run):
            model.load_weights([(name, weight)])
            self.run.heart.beat()
        self._engine.reset_prefix_cache()

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Completion]:
        """See `GenerationEngine`. Ranks hold whole models: none waits for another."""
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        sampling = [self._vllm.SamplingParams(seed=seed, **self._sampling) for seed in seeds]
        outputs = self._engine.generate(asked, sampling, use_tqdm=False)
        self.run.heart.beat()
        return [_completion(output.outputs[0]) for output in outputs]


def policy_weights(run: Training) -> Iterator[tuple[str, Tensor]]:
    """(name, weight) of the model as it computes, adapters merged into their projections, one at a time. Collective."""
    lora = run.recipe.lora
    if lora is None:
        yield from whole_weights(run.engine)
        return
    adapters = {name: weight.clone() for name, weight in whole_weights(run.engine, is_adapter)}
    for name, weight in whole_weights(run.engine, lambda name: not is_adapter(name)):
        merged = merged_weights(lambda _, base=weight: base, adapters.__getitem__, adapters, lora.scaling)
        yield name, merged(name)


def _completion(output: Any) -> Completion:
    tokens = list(output.token_ids)
    chosen = zip(tokens, output.logprobs, strict=True)
    return Completion(tokens, [float(at[token].logprob) for token, at in chosen])


def _import(run: Training) -> Any:
    """The package, told to stay in this process. Raises UserError without it."""
    where = run.recipe.place("objective.engine")
    if run.ranks.device.type != "cuda":
        raise UserError("vLLM generates on GPUs", where=where, found="a CPU", way_out="objective.engine=own")
    if run.recipe.lora is not None and run.recipe.lora.quantize is not None:
        raise UserError(
            "vLLM is handed whole weights, and the base is held in 4 bits",
            where=where,
            found=f"lora.quantize: {run.recipe.lora.quantize}",
            way_out="objective.engine=own",
        )
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # else its model lies in another process
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")  # it looks for them, and then takes the group that is there
    os.environ.setdefault("MASTER_PORT", "29500")
    try:
        import vllm
    except ImportError as error:
        raise UserError(
            f"the engine vllm needs `vllm`, which cannot be imported: {error}",
            where=where,
            way_out="pip install vllm, in the release that goes with the installed torch; or objective.engine=own",
        ) from None
    return vllm
