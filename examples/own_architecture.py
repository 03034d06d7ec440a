"""A change of architecture: squared ReLU (So et al., 2021) in place of SwiGLU. Stock tools cannot load the result.

python examples/own_architecture.py data.path=data/test [key.sub=value ...]
"""

import sys

from torch import Tensor, nn

import clapas
from clapas.model.build import build_model
from clapas.model.init import initialise


class SquaredReLU(nn.Module):
    """down(relu(up(x))^2)."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x_BSE: Tensor, is_target_BS: Tensor | None = None) -> tuple[Tensor, None]:
        """The layer's output, and no term that balances experts."""
        return self.down_proj(self.up_proj(x_BSE).relu().square()), None


def build(recipe: clapas.Recipe) -> nn.Module:
    """The recipe's model with other feed-forward layers, initialised by parameter name as every model is."""
    model = build_model(recipe.model, recipe.compute)
    for layer in model.model.layers:
        layer.mlp = SquaredReLU(recipe.model.hidden_size, recipe.model.intermediate_size * 3 // 2)
    initialise(model, recipe.seed)
    return model


recipe = clapas.read_recipe("test", ["run_dir=runs/squared-relu", *sys.argv[1:]])
clapas.train(recipe, build=build)
