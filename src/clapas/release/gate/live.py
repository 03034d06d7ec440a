"""The model that was trained, as the gate compares an export with it: its weights, its logits, its held-out loss.

Nothing is loaded before it is asked for, and the weights are given back once the logits are known: the gate never holds
our model and the stranger's together. Held in memory meanwhile: 4 bytes a parameter. P positions, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from clapas.checkpoint.reader import CheckpointReader
from clapas.evaluate.load import load, model_config_of, tokenizer_folder_of
from clapas.ledger.ledger import read_ledger
from clapas.loader.readers import data_that_ran
from clapas.model.config import ModelConfig
from clapas.model.source import WeightSource, weights_of
from clapas.recipe.errors import ClapasError
from clapas.recipe.recipe import Recipe
from clapas.release.gate.document_edges import Edges, document_edges
from clapas.release.gate.held_out_text import REPRODUCIBLE, held_out_text, logged_validation
from clapas.release.gate.probes import probes_of
from clapas.release.gate.seen import HeldOutText, Probe, Probes
from clapas.train.callbacks.validation import has_held_out
from clapas.train.run_folder import read_run_recipe
from clapas_data.encode import TokenizerFolder, open_tokenizer
from clapas_data.manifest import open_manifest


@dataclass(frozen=True, slots=True)
class LiveLogits:
    """(P, V) of each probe, fp32 arithmetic. exact: of the weights as the run holds them. rounded: of the same weights
    rounded as an export's were, which is what it must compute."""

    exact: tuple[Tensor, ...]
    rounded: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class NoText:
    """Why the held-out loss cannot be computed again. is_sound: whether nothing is missing that should be there."""

    why: str
    is_sound: bool


class LiveModel:
    """A checkpoint of a run, and the data that the run was validated on."""

    def __init__(self, run: Path, checkpoint: Path) -> None:
        self.run, self.checkpoint = run, checkpoint
        self._reader = CheckpointReader(checkpoint, verify=False)  # exporting it verified it
        self._logits: dict[tuple[torch.dtype, ...], LiveLogits] = {}

    @cached_property
    def recipe(self) -> Recipe:
        """The run's."""
        return read_run_recipe(self.run)

    @cached_property
    def config(self) -> ModelConfig:
        """The model's, as it trained."""
        return model_config_of(self._reader)

    @cached_property
    def tokenizer(self) -> TokenizerFolder:
        """The one that made the run's data."""
        return open_tokenizer(tokenizer_folder_of(self._reader))

    @cached_property
    def weights(self) -> WeightSource:
        """The run's, as an export takes them: their average where one was kept, a base's merged with its adapters."""
        return weights_of(self._reader, self.config)

    @cached_property
    def document_edges(self) -> tuple[Edges, ...]:
        """Of the documents that it learned from. Raises UserError where its data are gone or were altered."""
        return tuple(document_edges(data_that_ran(self.run, self.recipe, open_manifest(self.recipe.data.path))))

    @cached_property
    def held_out(self) -> HeldOutText | NoText:
        """What the validation that was logged at this step scored."""
        objective, split = self.recipe.objective.name, self.recipe.evaluation.split
        logged = logged_validation(read_ledger(self.run), self._reader.step, split)
        if logged is None:
            return self._unvalidated()
        if objective not in REPRODUCIBLE:
            why = f"the held-out loss of {objective} is no cross-entropy that stock transformers could compute"
            return NoText(why, is_sound=True)
        if self.recipe.lora is not None and self.recipe.lora.quantize is not None:
            why = f"the run was validated on a base held as {self.recipe.lora.quantize}, and the export is not"
            return NoText(why, is_sound=True)
        try:
            newest = open_manifest(self.recipe.data.path)
            manifest = data_that_ran(self.run, self.recipe, newest)
            if newest.removed is not None and manifest.hash != newest.hash:
                return NoText("documents were removed from the run's data since it was validated", is_sound=True)
            return held_out_text(self.recipe, manifest, logged[1])
        except ClapasError as error:
            return NoText(f"the run's held-out text is not to be had: {error.what}", is_sound=False)

    def _unvalidated(self) -> NoText:
        """Sound where the run's data hold nothing out; else its last step was validated before its checkpoint was
        written, and the ledger has lost that."""
        why = f"nothing was validated at step {self._reader.step}"
        try:
            held = has_held_out(self.recipe, data_that_ran(self.run, self.recipe, open_manifest(self.recipe.data.path)))
        except ClapasError as error:
            return NoText(f"{why}, and whether text was held out is not known: {error.what}", is_sound=False)
        return NoText(f"{why}, and text was held out" if held else why, is_sound=not held)

    @cached_property
    def probes(self) -> Probes:
        """What the stranger is to compute."""
        text = self.held_out if isinstance(self.held_out, HeldOutText) else None
        record = self.tokenizer.record
        vocabulary = min(record.vocab_size, self.config.vocab_size)
        special = (record.bos, record.eos, record.pad)
        return Probes(probes_of(text, vocabulary, self.config.max_position_embeddings, special), text)

    def logits(self, roundings: tuple[torch.dtype, ...]) -> LiveLogits:
        """Of the probes. roundings: what an export's weights were rounded to, one after the other. Computed once."""
        if roundings not in self._logits:
            model = load(self.checkpoint).model
            exact = rounded = self._of_probes(model)
            if set(roundings) != {torch.float32}:
                _round(model, roundings)
                rounded = self._of_probes(model)
            self._logits[roundings] = LiveLogits(exact, rounded)
        return self._logits[roundings]

    def loss_of_padding(self, rows: int) -> float:
        """Nats a token that the vocabulary's rows from `rows` on cost the run, at the places of its text's probe."""
        if rows >= self.config.vocab_size:
            return 0.0
        (logits, *_) = self.logits((torch.float32,)).exact
        return (logits.double().logsumexp(1) - logits[:, :rows].double().logsumexp(1)).mean().item()

    def _of_probes(self, model: nn.Module) -> tuple[Tensor, ...]:
        return tuple(_logits(model, probe) for probe in self.probes.sequences)


@torch.inference_mode()
def _logits(model: nn.Module, probe: Probe) -> Tensor:
    device = next(model.parameters()).device
    ids_BS, positions_BS = (torch.tensor([values], device=device) for values in (probe.ids, probe.positions))
    keep = torch.tensor(probe.keep, device=device)
    logits, _ = model(ids_BS, positions_BS, criterion=lambda x_BSE, weight_VE: x_BSE[0, keep] @ weight_VE.t())
    return logits.cpu()


@torch.no_grad()
def _round(model: nn.Module, roundings: tuple[torch.dtype, ...]) -> None:
    for parameter in model.parameters():
        for dtype in roundings:
            parameter.copy_(parameter.to(dtype))
