"""A copy of a rank's state in host memory: what a save writes while training changes the original."""

from __future__ import annotations

from dataclasses import replace

import torch

from clapas.checkpoint.format import Fragment, Snapshot, tensor_key


class HostCopy:
    """Copies snapshots into the same buffers again and again: fresh memory costs more than the copy itself.

    One snapshot at a time: the next `take` overwrites the one before.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, torch.Tensor] = {}

    def take(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot as it is now, in host memory. On a GPU all copies are under way at once, and waited for."""
        fragments = [self._copy(fragment) for fragment in snapshot.fragments]
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return replace(snapshot, fragments=fragments)

    def _copy(self, fragment: Fragment) -> Fragment:
        states = {}
        for state, tensor in fragment.states.items():
            key = tensor_key(fragment.name, state, fragment.offset)
            buffer = self._buffers.get(key)
            if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                on_gpu = tensor.device.type == "cuda"
                buffer = self._buffers[key] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=on_gpu)
            states[state] = buffer.copy_(tensor.detach(), non_blocking=True)
        return replace(fragment, states=states)
