"""Low-rank adapters on a decoder's frozen projections; formulas and sources are in `lora_config`.

An adapted projection keeps the name of its weight, and PEFT's names stand beside it: `….q_proj.weight`,
`….q_proj.lora_A.weight`, `….q_proj.lora_B.weight` and, with DoRA, `….q_proj.lora_magnitude_vector`. A begins as PEFT's,
uniform within ±1 / sqrt(in), from the parameter's own generator, and B at zero: the model begins as its base.

Shapes: N tokens in any arrangement, I inputs, O outputs, R rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas.model.decoder import CausalLM
from clapas.model.init import generator_of
from clapas.model.lora_config import DOWN, MAGNITUDE, UP, LoraConfig, is_adapter


class Down(nn.Linear):
    """A: what it makes of x, and A itself, without gradient, for whoever needs the whole product B A."""

    def forward(self, x_NI: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride] nn.Linear gives one
        return F.linear(x_NI, self.weight), self.weight.detach()


class Up(nn.Linear):
    """B: what it makes, on top of what the base has made; and B itself, without gradient.

    A batched product, of a batch of one: selective checkpointing (`model.compute`) makes those again, and holds of a
    projection what its base makes and no second tensor of that size.
    """

    def forward(self, base_NO: Tensor, low_NR: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride] nn.Linear takes and gives one
        sum_1NO = torch.baddbmm(base_NO.flatten(0, -2)[None], low_NR.flatten(0, -2)[None], self.weight.t()[None])
        return sum_1NO.view(base_NO.shape), self.weight.detach()


class LoraLinear(nn.Linear):
    """A frozen projection with an adapter. A and B are modules: ZeRO-3 gathers what a module of its own reads."""

    def __init__(self, base: nn.Linear, lora: LoraConfig) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.lora_magnitude_vector: nn.Parameter | None
        magnitude_O = nn.Parameter(torch.empty(self.out_features)) if lora.dora else None
        self.register_parameter("lora_magnitude_vector", magnitude_O)
        self.lora_A = Down(self.in_features, lora.rank, bias=False)
        self.lora_B = Up(lora.rank, self.out_features, bias=False)
        self.scaling = lora.scaling
        self.is_on = True

    def forward(self, x_NI: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] names
        if not self.is_on:
            base_NO = self.multiply(x_NI)
            return base_NO if self.bias is None else base_NO + self.bias
        low_NR, down_RI = self.lora_A(x_NI)
        sum_NO, up_OR = self.lora_B(self.multiply(x_NI), low_NR * self.scaling)
        if self.lora_magnitude_vector is not None:
            norm_O = row_norms(with_product(self.matrix(), down_RI, up_OR, self.scaling))
            # rounded as m is: they are equal in the beginning, whatever the precision
            sum_NO = sum_NO * (self.lora_magnitude_vector / norm_O.to(self.lora_magnitude_vector.dtype))
        return sum_NO if self.bias is None else sum_NO + self.bias

    def multiply(self, x_NI: Tensor) -> Tensor:
        """W x, without the bias."""
        return F.linear(x_NI, self.weight)

    def matrix(self) -> Tensor:
        """W."""
        return self.weight.detach()


def add_adapters(
    model: CausalLM,
    lora: LoraConfig,
    seed: int,
    weight_of: Callable[[str], Tensor] | None = None,
    start: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Freeze a model, and put adapters on the projections that `lora` names, in `dtype` on the CPU.

    A projection of another kind becomes a plain one: `MLP` then computes what it gates first.
    weight_of: a base weight by its name, for DoRA's first magnitudes; by default the model's own, if they are set.
    start: values to begin with instead, of every parameter of the adapters by name.
    """
    model.requires_grad_(False)
    own = dict(model.named_parameters())
    for parent, name, base in list(_projections(model, lora)):
        with torch.device("cpu"):
            setattr(parent, name, LoraLinear(base, lora))
    for name, module in adapted(model):
        if start is None:
            _initialise(module, name, seed, weight_of or own.__getitem__)
        else:
            _begin_with(module, name, start)
        for own_name, parameter in module.named_parameters():
            if is_adapter(f".{own_name}"):
                parameter.data = parameter.data.to(dtype)


def adapted(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """The adapted projections of a model, by name."""
    yield from ((name, module) for name, module in model.named_modules() if isinstance(module, LoraLinear))


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Inside, the model computes as its frozen base does."""
    modules = [module for _, module in adapted(model)]
    for module in modules:
        module.is_on = False
    try:
        yield
    finally:
        for module in modules:
            module.is_on = True


def _projections(model: CausalLM, lora: LoraConfig) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """(module that holds it, its name there, projection) of each that gets an adapter."""
    for parent in model.model.layers.modules():
        for name, module in parent.named_children():
            if name in lora.projections and isinstance(module, nn.Linear):
                yield parent, name, module


@torch.no_grad()
def _initialise(module: LoraLinear, name: str, seed: int, weight_of: Callable[[str], Tensor]) -> None:
    down = module.lora_A.weight
    bound = 1 / math.sqrt(module.in_features)  # kaiming_uniform_ with a = sqrt(5), as PEFT calls it
    drawn = torch.rand(down.shape, generator=generator_of(seed, f"{name}.{DOWN}"))
    down.copy_((2 * drawn - 1) * bound)
    module.lora_B.weight.zero_()
    if module.lora_magnitude_vector is not None:
        module.lora_magnitude_vector.copy_(row_norms(weight_of(f"{name}.weight")))


@torch.no_grad()
def _begin_with(module: LoraLinear, name: str, start: Mapping[str, Tensor]) -> None:
    for own, parameter in module.named_parameters():
        if is_adapter(f".{own}"):
            parameter.copy_(start[f"{name}.{own}"])


def with_product(weight_OI: Tensor, down_RI: Tensor, up_OR: Tensor, scaling: float) -> Tensor:
    """W + s B A, in fp32 or in what W has, where that is wider. Batched as in `Up`: never held by a checkpoint."""
    dtype = torch.promote_types(weight_OI.dtype, torch.float32)
    return torch.baddbmm(*(x.to(dtype)[None] for x in (weight_OI, up_OR, down_RI)), alpha=scaling)[0]


def row_norms(matrix_OI: Tensor) -> Tensor:
    """The L2 norm of each row, (O,), in fp32 at least."""
    return torch.linalg.vector_norm(matrix_OI, dim=1, dtype=torch.promote_types(matrix_OI.dtype, torch.float32))


def merged(weight_OI: Tensor, down_RI: Tensor, up_OR: Tensor, magnitude_O: Tensor | None, scaling: float) -> Tensor:
    """The one matrix that does what a projection with its adapter does, as `with_product` has it."""
    sum_OI = with_product(weight_OI, down_RI, up_OR, scaling)
    return sum_OI if magnitude_O is None else sum_OI * (magnitude_O / row_norms(sum_OI))[:, None]


def merged_weights(
    weight_of: Callable[[str], Tensor], adapter_of: Callable[[str], Tensor], names: Collection[str], scaling: float
) -> Callable[[str], Tensor]:
    """A base weight's name -> it, merged with its adapter where it has one.

    weight_of, adapter_of: a tensor of the base, and of the adapters, by name. names: of all those of the adapters.
    """

    def weight(name: str) -> Tensor:
        before = name.removesuffix("weight")
        if before + DOWN not in names:
            return weight_of(name)
        magnitude = adapter_of(before + MAGNITUDE) if before + MAGNITUDE in names else None
        return merged(weight_of(name), adapter_of(before + DOWN), adapter_of(before + UP), magnitude, scaling)

    return weight
