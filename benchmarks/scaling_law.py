"""Does the loss obey a scaling law? Three sizes foretell the loss of a fourth, of twice the largest of them.

    python benchmarks/scaling_law.py [--data data/demo] [--runs runs/scaling-law] [--plot docs/images/scaling-law.svg]

One family: 4 layers, the width alone grows, heads of about 32, feed-forward 8/3 of the width. N counts all parameters,
tied embeddings once (the convention of Hoffmann et al., 2022). Each size trains on TOKENS_A_PARAMETER * N tokens with
the demo's recipe and a learning rate that falls with the root of the width. The law, chosen before the runs: a power
law, L = (N_c / N)^alpha (Kaplan et al., 2020, equation 1.1), by least squares of log L; two numbers from three sizes,
so that the fit can also be seen to fail. A run that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TOKENS_A_PARAMETER = 2  # about what the demo has, whose recipe this is
TOKENS_A_STEP = 2048
LR_AT_WIDTH_128 = 4e-3  # the demo's, found there (docs/decisions/008)
WARM_UP = 0.05  # of the steps, as in the demo
WITHIN = 0.02


@dataclass(frozen=True, slots=True)
class Size:
    """A width of the family, and the parameters that it makes."""

    hidden_size: int
    heads: int
    intermediate_size: int
    layers: int = 4
    vocab_size: int = 8192

    @property
    def parameters(self) -> int:
        """All of them; tied embeddings count once."""
        layer = 4 * self.hidden_size**2 + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        return self.layers * layer + self.hidden_size * (self.vocab_size + 1)

    @property
    def steps(self) -> int:
        """Optimizer steps of its run."""
        return round(TOKENS_A_PARAMETER * self.parameters / TOKENS_A_STEP)

    @property
    def name(self) -> str:
        """For a person: `1.2M`."""
        return f"{self.parameters / 1e6:.1f}M"

    def overrides(self, data: Path, run: Path) -> list[str]:
        """The demo's recipe at this size."""
        return [
            f"name=scaling-{self.name}",
            f"run_dir={run}",
            f"data.path={data}",
            f"model.hidden_size={self.hidden_size}",
            f"model.num_hidden_layers={self.layers}",
            f"model.num_attention_heads={self.heads}",
            f"model.num_key_value_heads={self.heads}",
            f"model.intermediate_size={self.intermediate_size}",
            f"optimizer.lr={LR_AT_WIDTH_128 * math.sqrt(128 / self.hidden_size):.2e}",
            f"schedule.warmup_steps={round(WARM_UP * self.steps)}",
            f"train.steps={self.steps}",
            f"checkpoint.every={self.steps}",
            f"evaluation.every={self.steps}",
        ]


SIZES = (Size(32, 1, 88), Size(56, 2, 152), Size(96, 3, 256), Size(160, 5, 432))


def train(size: Size, data: Path, runs: Path) -> float:
    """Held-out loss in nats a token of a size's run, which is made where it is not there."""
    run = runs / size.name
    command = [sys.executable, "-m", "clapas", "train", "demo", *size.overrides(data, run)]
    subprocess.run(command, check=True)
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "split" in row and row["step"] == size.steps][-1]


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """L(N) = (critical / N)^exponent."""

    critical: float
    exponent: float

    @staticmethod
    def fitted(parameters: list[int], losses: list[float]) -> PowerLaw:
        """Least squares of log L over log N."""
        slope, height = np.polyfit(np.log(parameters), np.log(losses), 1)
        return PowerLaw(math.exp(-height / slope), -float(slope))

    def __call__(self, parameters: float) -> float:
        return (self.critical / parameters) ** self.exponent


def plot(losses: list[float], law: PowerLaw, path: Path) -> None:
    """The four losses and the law, both axes logarithmic, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    ink, accent, second = "#1f2933", "#b5482a", "#2a6f97"
    counts = [size.parameters for size in SIZES]
    with plt.rc_context({"font.size": 9, "svg.hashsalt": "clapas", "axes.edgecolor": ink, "text.color": ink}):
        figure, axes = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
        line = np.geomspace(counts[0] * 0.8, counts[-1] * 1.25, 50)
        label = f"(N_c / N)^{law.exponent:.3f}, from the first three"
        axes.plot(line, [law(n) for n in line], color=second, linewidth=1.2, label=label)
        axes.plot(counts[:3], losses[:3], "o", color=accent, label="fitted")
        axes.plot(counts[3:], losses[3:], "D", color=ink, label="foretold")
        axes.set(xscale="log", yscale="log", xlabel="parameters", ylabel="held-out loss, nats a token")
        axes.set_xticks(counts, [size.name for size in SIZES])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_formatter(ScalarFormatter())
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def main() -> None:
    """Train, fit, plot; print the table, and exit 1 where the law misses the fourth size by more than 2 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    parser.add_argument("--runs", type=Path, default=Path("runs/scaling-law"))
    parser.add_argument("--plot", type=Path, default=Path("docs/images/scaling-law.svg"))
    options = parser.parse_args()
    counts = [size.parameters for size in SIZES]
    losses = [train(size, options.data, options.runs) for size in SIZES]
    law = PowerLaw.fitted(counts[:3], losses[:3])
    print("| parameters | tokens | held-out loss | the law | off by |\n|---|---|---|---|---|")
    for size, loss in zip(SIZES, losses, strict=True):
        foretold = law(size.parameters)
        tokens = size.steps * TOKENS_A_STEP
        print(f"| {size.parameters:,} | {tokens:,} | {loss:.4f} | {foretold:.4f} | {foretold / loss - 1:+.2%} |")
    print(f"\nL(N) = ({law.critical:.4g} / N)^{law.exponent:.4f}")
    plot(losses, law, options.plot)
    raise SystemExit(abs(law(counts[3]) / losses[3] - 1) > WITHIN)


if __name__ == "__main__":
    main()
