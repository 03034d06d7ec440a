"""The card's two plots, `images/loss.png` and `images/data.png`: French labels, English below them.

The same evidence gives the same bytes: matplotlib's own settings and fonts, and no date or version inside. Colours are
told apart with any sight, and by shape too.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from clapas.release.documents.facts import Facts
from clapas.release.documents.words import number, percent
from clapas.release.evidence.evidence import HeldOut, Loss
from clapas_data.optional import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSS, DATA = "images/loss.png", "images/data.png"
BLUE, ORANGE, INK = "#0072b2", "#d55e00", "#1f2933"
"""Of the palette of Okabe and Ito (2008), which people of all kinds of colour vision tell apart."""
WIDTH, DPI = 7.0, 144
MOST_SOURCES = 30
"""Bars; the rest is one."""


def documents(facts: Facts) -> dict[str, bytes]:
    """Both plots. Raises UserError where matplotlib is not installed."""
    with needs("matplotlib", "the card's plots", extra="release"):
        import matplotlib as mpl  # noqa: F401 - said here, for plots that were drawn before are not drawn again
    evidence = facts.evidence
    return {LOSS: _loss_plot(evidence.losses, evidence.held_out), DATA: _data_plot(tuple(_sources(facts)))}


@lru_cache(maxsize=4)  # drawing takes longer than all other documents together, and is asked for again by the gate
def _loss_plot(losses: tuple[Loss, ...], held_out: tuple[HeldOut, ...]) -> bytes:
    return _png(lambda axes: _loss(axes, losses, held_out), 3.4)


@lru_cache(maxsize=4)
def _data_plot(sources: tuple[tuple[str, int], ...]) -> bytes:
    return _png(lambda axes: _bars(axes, sources), 1.3 + 0.32 * len(sources))


def _png(draw: Callable[[Axes], None], height: float) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(mpl.rcParamsDefault):
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _loss(axes: Axes, rows: Sequence[Loss], held_out: Sequence[HeldOut]) -> None:
    axes.plot([r.step for r in rows], [r.loss for r in rows], color=BLUE, linewidth=1, label="entraînement · training")
    splits = list(dict.fromkeys(row.split for row in held_out))
    for place, split in enumerate(splits):
        own = [row for row in held_out if row.split == split]
        label = "textes tenus à l'écart · held out" if len(splits) == 1 else f"à l'écart · held out: {split}"
        shape = "os^Dv*"[place % 6]
        axes.plot([r.step for r in own], [r.loss for r in own], f"{shape}--", color=ORANGE, markersize=5, label=label)
    axes.set_xlabel("pas · step", color=INK)
    axes.set_ylabel("perte (nats par jeton)\nloss (nats a token)", color=INK)
    axes.legend(frameon=False)


def _sources(facts: Facts) -> list[tuple[str, int]]:
    """Tokens read by source, over all corpora, most first; past `MOST_SOURCES`, the rest together."""
    sums: dict[str, int] = {}
    for data in facts.evidence.data:
        for source in data.sources:
            sums[source.name] = sums.get(source.name, 0) + source.tokens_read
    ordered = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(tokens for _, tokens in ordered[MOST_SOURCES:])
    return ordered[:MOST_SOURCES] + ([("autres · others", rest)] if rest else [])


def _bars(axes: Axes, sources: Sequence[tuple[str, int]]) -> None:
    whole = sum(tokens for _, tokens in sources) or 1
    places = range(len(sources))
    axes.barh(places, [tokens for _, tokens in sources], color=BLUE, height=0.7)
    axes.set_yticks(places, [name.replace("$", r"\$") for name, _ in sources])
    axes.invert_yaxis()
    for place, (_, tokens) in zip(places, sources, strict=True):
        told = f" {percent(tokens / whole, 'fr')} · {number(tokens, 'fr')}"
        axes.annotate(told, (tokens, place), va="center", color=INK)
    axes.set_xlim(0, 1.45 * max((tokens for _, tokens in sources), default=1))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title("Jetons lus par source · Tokens read by source", color=INK, fontsize=11, loc="left")
