"""Folders that stock transformers does not load, or loads as another model: check 10."""

from __future__ import annotations

import torch
from tests.release.mutations.config import config, fields
from tests.release.mutations.mutant import Mutant
from tests.release.mutations.weights import Tensors, of_tensors

CODE = {"AutoModelForCausalLM": "modeling_demo.DemoForCausalLM"}
NORM, GENERATION = "model.norm.weight", "generation_config.json"


def rename(tensors: Tensors) -> None:
    """As another library calls it: one key is missing, another unexpected."""
    tensors["transformer.ln_f.weight"] = tensors.pop(NORM)


def reshape(tensors: Tensors) -> None:
    """As many numbers, in another shape."""
    tensors[NORM] = tensors[NORM].view(2, -1).contiguous()


def add(tensors: Tensors) -> None:
    """Biases that no layer takes."""
    tensors["model.layers.0.self_attn.q_proj.bias"] = torch.zeros_like(tensors[NORM])


MUTANTS = [
    Mutant("config.json asks for code of its own", 10, config(auto_map=CODE), only=True),
    Mutant("the tokenizer asks for code of its own", 10, fields("tokenizer_config.json", auto_map=CODE), only=True),
    Mutant("the architecture is another", 10, config(architectures=["MistralForCausalLM"]), only=True),
    Mutant("a tensor has another library's name", 10, of_tensors(rename)),
    Mutant("a tensor has another shape", 10, of_tensors(reshape)),
    Mutant("a tensor that nobody reads", 10, of_tensors(add)),
    Mutant("a layer fewer than there are weights", 10, config(num_hidden_layers=1)),
    Mutant("a layer more than there are weights", 10, config(num_hidden_layers=3)),
    Mutant("half as many heads", 10, config(num_attention_heads=2, head_dim=32)),
    Mutant("the model's kind is unknown", 10, config(model_type="clapas")),
    Mutant("another activation", 10, config(hidden_act="gelu")),
    Mutant("biases that were not trained", 10, config(attention_bias=True)),
    Mutant("a field left out", 10, config(attention_dropout=None), only=True),
    Mutant("a flag is a number", 10, config(mlp_bias=0)),
    Mutant("a window that was not trained", 10, config(sliding_window=16), only=True),
    Mutant("texts end after a token", 10, fields(GENERATION, max_new_tokens=1), only=True),
    Mutant("ids that are never written", 10, fields(GENERATION, suppress_tokens=[5, 6]), only=True),
    Mutant("texts are drawn hot", 10, fields(GENERATION, do_sample=True, temperature=5.0), only=True),
    Mutant("a quantisation that was not done", 10, config(quantization_config={"quant_method": "fp8"})),
]
