"""Model of a GPU's time: the length of each step of continuous batching, and the requests in it. Nothing here sleeps.

The rates are those of Qwen3-8B, which is the language model of Qwen3-VL-8B, in bfloat16 on one H100 80GB SXM under
vLLM 0.30.0, as published in https://github.com/tgarg01/silybench-data (`derived/csv/perf_points.csv` and `runs.csv`, run
20260924T125045Z_h100-80gbx1_qwen3-8b_bf16, CC BY 4.0). Four of its figures give the four constants:

- 6.83 ms between the tokens of a lone request of 128 + 128 tokens: reading the weights;
- 12.83 ms with 256 of them, and 18.08 ms with 256 of 128 + 1024: the time of a sequence, and of a token of its context;
- 233 ms for a step with 8,192 prompt tokens, where a step without any takes 25: the time of a prompt token.

`tests/benchmarks/test_gpu.py` compares the formula with other rows of the same table. The vision tower's time is
missing, since no figures are published: a real GPU takes longer, so the modelled engine is harder to keep full.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gpu:
    """Rates of one GPU with one model.

    Attributes:
        step_s: Seconds of an empty step.
        sequence_s, context_token_s: Further seconds for each sequence that decodes, and each token of its context.
        prompt_token_s: Further seconds for each prompt token that is computed.
        kv_tokens: Tokens whose keys and values fit in memory.
        step_tokens: Most tokens of one step; longer prompts are computed over several.
        sequences: Most requests in a step.
    """

    step_s: float = 6.83e-3
    sequence_s: float = 14.7e-6
    context_token_s: float = 45.8e-9
    prompt_token_s: float = 25.4e-6
    kv_tokens: int = 377_024
    step_tokens: int = 8192
    sequences: int = 64

    def seconds(self, sequences: int, context: int, prompt_tokens: int) -> float:
        """Return the length of a step in which `sequences` decode over `context` tokens in all."""
        decoding = self.sequence_s * sequences + self.context_token_s * context
        return self.step_s + decoding + self.prompt_token_s * prompt_tokens


@dataclass(frozen=True)
class Part:
    """A text or image in a prompt. Equal keys mean equal prompts up to the part's end."""

    key: object
    tokens: int


@dataclass(eq=False)
class Running:
    """One request in the engine.

    Attributes:
        arrived: Second of its arrival.
        cached: Prompt tokens found in the cache.
        started, finished: Seconds at which its first step began and its last one ended.
    """

    parts: Sequence[Part]
    output_tokens: int
    priority: int
    arrived: float
    cached: int = 0
    computed: int = 0
    generated: int = 0
    started: float = 0.0
    finished: float | None = None
    aborted: bool = False
    held: list[object] = field(default_factory=list)

    @property
    def prompt_tokens(self) -> int:
        return sum(part.tokens for part in self.parts)


@dataclass
class _Shared:
    """A part that several requests may use."""

    tokens: int
    users: int = 0
    computed: bool = False


class Batcher:
    """Continuous batching with chunked prefill, a queue by priority, and prefix caching if wanted.

    Prefixes are shared part by part: a part is cached once it has been computed whole. Unused parts are evicted when
    room is needed, the oldest first.
    """

    def __init__(self, gpu: Gpu, *, prefix_caching: bool) -> None:
        self.gpu = gpu
        self.prefix_caching = prefix_caching
        self.clock = 0.0
        self.busy = 0.0
        self._running: list[Running] = []
        self._waiting: list[tuple[int, int, Running]] = []
        self._order = 0
        self._parts: OrderedDict[object, _Shared] = OrderedDict()
        self._private = 0

    def add(self, sequence: Running) -> None:
        """Queue a request: lower priorities first, then in order of arrival."""
        self._order += 1
        heapq.heappush(self._waiting, (sequence.priority, self._order, sequence))

    @property
    def idle(self) -> bool:
        return not self._running and not self._waiting

    def step(self) -> list[Running]:
        """Do one step, set the clock to its end, and return the finished requests."""
        for sequence in [s for s in self._running if s.aborted]:
            self._leave(sequence)
        if not self._running and self._waiting:
            self.clock = max(self.clock, min(s.arrived for _, _, s in self._waiting))
        decoding = [s for s in self._running if s.computed == s.prompt_tokens]
        chunks = self._chunks(self.gpu.step_tokens - len(decoding))
        context = sum(s.prompt_tokens + s.generated for s in decoding)
        if not decoding and not chunks:
            return []
        began = self.clock
        seconds = self.gpu.seconds(len(decoding), context, sum(tokens for _, tokens in chunks))
        self.clock += seconds
        self.busy += seconds
        for sequence, tokens in chunks:
            if not sequence.started:
                sequence.started = began
            sequence.computed += tokens
            if sequence.computed == sequence.prompt_tokens:
                decoding.append(sequence)  # the step that ends the prompt gives the first token
        for sequence in decoding:
            sequence.generated += 1
        done = [s for s in decoding if s.generated >= s.output_tokens]
        for sequence in done:
            sequence.finished = self.clock
            self._leave(sequence)
        return done

    def _chunks(self, room: int) -> list[tuple[Running, int]]:
        """Return the prompts that the step has room for: begun ones first, then new ones."""
        chunks = []
        for sequence in self._running:
            if room > 0 and sequence.computed < sequence.prompt_tokens:
                chunks.append((sequence, self._chunk(sequence, room)))
                room -= chunks[-1][1]
        passed = []
        while room > 0 and self._waiting and len(self._running) < self.gpu.sequences:
            entry = heapq.heappop(self._waiting)
            sequence = entry[2]
            if sequence.aborted:
                continue
            if sequence.arrived > self.clock:
                passed.append(entry)
                continue
            if not self._enter(sequence):
                passed.append(entry)
                break
            chunks.append((sequence, self._chunk(sequence, room)))
            room -= chunks[-1][1]
        for entry in passed:
            heapq.heappush(self._waiting, entry)
        return chunks

    def _chunk(self, sequence: Running, room: int) -> int:
        """Return the number of a request's prompt tokens in this step; parts completed by them become shared."""
        tokens = min(sequence.prompt_tokens - sequence.computed, room)
        end = 0
        for key, part in zip(sequence.held, sequence.parts, strict=False):
            end += part.tokens
            if end <= sequence.computed + tokens:
                self._parts[key].computed = True
        return tokens

    def _enter(self, sequence: Running) -> bool:
        """Reserve memory for a request, if there is any, reusing the cached prefix of its prompt."""
        shared = sequence.parts[:-1] if self.prefix_caching else ()
        known = 0
        while known < len(shared) and self._is_computed(shared[known]):
            known += 1
        own = sequence.prompt_tokens - sum(part.tokens for part in shared) + sequence.output_tokens
        wanted = {part.key: part.tokens for part in shared}
        wanted |= {key: part.tokens for key, part in self._parts.items() if part.users}
        if self._running and sum(wanted.values()) + self._private + own > self.gpu.kv_tokens:
            return False
        for part in shared:
            entry = self._parts.setdefault(part.key, _Shared(part.tokens))
            entry.users += 1
            self._parts.move_to_end(part.key)
            sequence.held.append(part.key)
        self._private += own
        self._evict()
        sequence.cached = sequence.computed = sum(part.tokens for part in shared[:known])
        self._running.append(sequence)
        return True

    def _is_computed(self, part: Part) -> bool:
        return part.key in self._parts and self._parts[part.key].computed

    def _evict(self) -> None:
        total = self._private + sum(part.tokens for part in self._parts.values())
        for key in [key for key, part in self._parts.items() if not part.users]:
            if total <= self.gpu.kv_tokens:
                return
            total -= self._parts.pop(key).tokens

    def _leave(self, sequence: Running) -> None:
        self._running.remove(sequence)
        for key in sequence.held:
            self._parts[key].users -= 1
        shared = len(sequence.held)
        self._private -= (
            sum(part.tokens for part in sequence.parts[shared:]) + sequence.output_tokens
        )
