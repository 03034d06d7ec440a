"""What runs in a stranger's process: stock transformers, and nothing of Clapas. See `stranger`, which starts it.

Run as a file, `python -I clean_process.py`; it imports only what anybody has who loads the model. A request is a line
of JSON on stdin; the answer is a line of JSON on what was stdout, after as many `{"alive": …}` as it takes. Tensors go
through safetensors files that the request names. B batch, S sequence, P positions asked for, V vocabulary.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

TOKENS_AT_ONCE = 4096
"""Of a batch of held-out text: what fits beside any model that fits at all."""
NO_TARGET = -100
LOGITS, OWN_LOGITS = "logits", "own_logits"


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer

    def say(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    sys.addaudithook(_no_network)
    import transformers

    say(alive=f"transformers {transformers.__version__}")
    for line in sys.stdin:
        request = json.loads(line)
        say(seen=look(request, lambda: say(alive="computes")))


def _no_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise PermissionError(f"a stranger's process is offline, and something called {event}")


def look(request: dict[str, Any], alive: Callable[[], object]) -> dict[str, Any]:
    """What `seen.Seen` holds, but for the tensors."""
    folder = request["folder"]
    tokenizer, said = _tokenizer(folder, request)
    return {"tokenizer": said, "model": _model(folder, request, tokenizer, alive)}


def _error(error: Exception) -> dict[str, Any]:
    said = " ".join(str(error).split())[:300] or "without a word"
    return {"error": f"{type(error).__name__}: {said}"}


def _tokenizer(folder: str, request: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The tokenizer, None where it does not load, and what it makes of texts and a conversation."""
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        texts = [_of_text(tokenizer, text) for text in request["texts"]]
    except Exception as error:
        return None, _error(error)
    return tokenizer, {
        "error": None,
        "kind": type(tokenizer).__name__,
        "length": len(tokenizer),
        "special": {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")},
        "texts": texts,
        "template": tokenizer.chat_template,
        **_rendered(tokenizer, request["conversation"]),
    }


def _of_text(tokenizer: Any, text: str) -> dict[str, Any]:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return {"ids": ids, "as_called": tokenizer(text)["input_ids"], "decoded": tokenizer.decode(ids)}


def _rendered(tokenizer: Any, conversation: list[dict[str, str]]) -> dict[str, Any]:
    if tokenizer.chat_template is None:
        return {"rendered": [], "rendering_error": None}
    try:
        texts = [
            tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=prompt)
            for prompt in (False, True)
        ]
    except Exception as error:  # a template is a program: it fails in any way
        return {"rendered": [], "rendering_error": _error(error)["error"]}
    return {"rendered": texts, "rendering_error": None}


def _model(folder: str, request: dict[str, Any], tokenizer: Any, alive: Callable[[], object]) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM

    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, output_loading_info=True, trust_remote_code=False, dtype="auto"
        )
        model, info = loaded
        model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        alive()
        with torch.inference_mode():
            return {
                "error": None,
                "kind": type(model).__name__,
                "dtype": str(model.dtype).removeprefix("torch."),
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "keys": {name: sorted(map(str, keys)) for name, keys in info.items() if keys},
                "finite": tokenizer is None or _is_finite(model, tokenizer, request["texts"][0]),
                **_computed(model, request, alive),
            }
    except Exception as error:
        return _error(error)


def _is_finite(model: Any, tokenizer: Any, text: str) -> bool:
    ids_BS = tokenizer(text, return_tensors="pt")["input_ids"][:, : model.config.max_position_embeddings]
    return bool(model(ids_BS.to(model.device)).logits.isfinite().all())


def _computed(model: Any, request: dict[str, Any], alive: Callable[[], object]) -> dict[str, Any]:
    """The probes' logits, written to the request's file, and the sum of losses over the held-out text."""
    import torch
    from safetensors.torch import load_file, save_file

    if request["probes"] is None:
        return {"loss_sum": None}
    asked = load_file(request["probes"])
    found: dict[str, torch.Tensor] = {}
    if model.dtype != torch.float32:
        found |= _logits(model, asked, OWN_LOGITS)
        model = model.float()
        alive()
    found |= _logits(model, asked, LOGITS)
    save_file(found, request["out"])
    alive()
    return {"loss_sum": None if "held_out" not in asked else _loss_sum(model, asked, alive)}


def _logits(model: Any, asked: dict[str, Any], name: str) -> dict[str, Any]:
    """`name.number` -> (P, V), fp32, of each probe."""
    import torch

    found: dict[str, torch.Tensor] = {}
    number = 0
    while (ids := asked.get(f"ids.{number}")) is not None:
        positions, keep = asked[f"positions.{number}"], asked[f"keep.{number}"]
        ids_BS = ids[None].long().to(model.device)
        out = model(
            ids_BS,
            attention_mask=torch.ones_like(ids_BS),  # without one, positions that jump are taken for packed samples
            position_ids=positions[None].long().to(model.device),
            logits_to_keep=keep.long().to(model.device),
            use_cache=False,
        )
        found[f"{name}.{number}"] = out.logits[0].float().cpu().contiguous()
        number += 1
    return found


def _loss_sum(model: Any, asked: dict[str, Any], alive: Callable[[], object]) -> float:
    """Nats, summed in fp64 over all targets."""
    import torch
    import torch.nn.functional as F  # noqa: N812 the field's name for it

    whole = torch.zeros((), dtype=torch.float64)
    for ids_BS, targets_BS in _batches(asked):
        first = int((targets_BS != NO_TARGET).any(0).nonzero()[0])
        keep = torch.arange(first, ids_BS.shape[1], device=model.device)
        logits_BSV = model(ids_BS.to(model.device), logits_to_keep=keep, use_cache=False).logits
        targets_BS = targets_BS[:, first:].to(model.device)
        losses = F.cross_entropy(
            logits_BSV.flatten(0, 1).float(), targets_BS.flatten(), ignore_index=NO_TARGET, reduction="sum"
        )
        whole += losses.double().cpu()
        alive()
    return whole.item()


def _batches(asked: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """(ids, targets), (B, S), of texts of like lengths, filled up on the right, where nothing before looks."""
    from torch.nn.utils.rnn import pad_sequence

    lengths = asked["lengths"].tolist()
    rows = list(zip(asked["held_out"].long().split(lengths), asked["targets"].long().split(lengths), strict=True))
    rows = sorted((row for row in rows if bool((row[1] != NO_TARGET).any())), key=lambda row: len(row[0]))
    while rows:
        count = max(1, TOKENS_AT_ONCE // len(rows[-1][0]))
        batch, rows = rows[-count:], rows[:-count]
        ids, targets = zip(*batch, strict=True)
        yield (
            pad_sequence(list(ids), batch_first=True),
            pad_sequence(list(targets), batch_first=True, padding_value=NO_TARGET),
        )


if __name__ == "__main__":
    main()
