"""One vLLM for all engines of a process that want the same weights: roles may differ in their LoRA adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from p2r_bench.engines.vllm_lora import Adapter
from p2r_bench.engines.vllm_ranks import Ranks
from p2r_bench.engines.vllm_starting import Running

STOPPING_S = 10.0
"""Time for vLLM's processes to end by themselves."""

_numbers = count(1)


@dataclass
class Shared:
    """A running vLLM and who uses it.

    Attributes:
        adapters: Digest to what vLLM knows of the adapter, its LoRARequest.
    """

    running: Running
    ranks: Ranks
    room: frozenset[str]
    users: int = 0
    adapters: dict[str, object] = field(default_factory=dict)

    async def lora_request(self, adapter: Adapter) -> object:
        """Load an adapter, once; what names it in requests."""
        from vllm.lora.request import LoRARequest

        if adapter.digest not in self.adapters:
            # vLLM tells prefixes in its cache apart by the adapter's name.
            request = LoRARequest(adapter.digest, next(_numbers), adapter.folder)
            await self.running.llm.add_lora(request)
            self.adapters[adapter.digest] = request
        return self.adapters[adapter.digest]


_running: dict[tuple[object, ...], Shared] = {}


def enter(
    key: tuple[object, ...],
    adapter: Adapter | None,
    begin: Callable[[], tuple[Running, frozenset[str], int]],
) -> Shared:
    """The vLLM of a key that has room for the adapter; `begin` starts one where there is none.

    Args:
        begin: Returns the vLLM, the digests of adapters that it has room for, and how many copies of the model it runs.
    """
    shared = _running.get(key)
    if shared is None or (adapter is not None and adapter.digest not in shared.room):
        running, room, copies = begin()
        shared = Shared(running, Ranks(copies), room)
        _running[key] = shared
    shared.users += 1
    return shared


def leave(shared: Shared) -> None:
    """One user less; the last one stops it."""
    shared.users -= 1
    if shared.users:
        return
    for key in [key for key, other in _running.items() if other is shared]:
        del _running[key]
    llm = shared.running.llm
    llm.shutdown(timeout=STOPPING_S)
    # Its destructor calls it again, at the interpreter's end, when what it needs is gone.
    llm.shutdown = _stopped


def _stopped(timeout: float | None = None) -> None: ...
