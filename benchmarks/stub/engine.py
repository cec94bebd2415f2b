"""Requests -> when each would be done: continuous batching over a block prefix cache.

What vLLM does, as far as throughput depends on it: each step every running request decodes a
token and the rest of the step's token budget prefills waiting requests, the oldest first. Prompts
are cut into blocks; a block is known by itself and everything before it, is reused by
any later request, and is evicted when it is the longest unused one. The engine has no clock: a
step says how long it takes.
"""

import re
from collections import OrderedDict, deque
from dataclasses import dataclass, field

BLOCK_TOKENS = 16
"""Of vLLM on a GPU; on a processor it takes 128."""
_TOKEN = re.compile(r"\s?\w{1,5}|\s?[^\w\s]|\s")


@dataclass(frozen=True)
class Speed:
    """What a server can do; the defaults are round figures of a small model on two cores."""

    prefill_tokens_s: float = 1_000.0
    """Prompt tokens that aren't cached, a second."""
    decode_tokens_s: float = 45.0
    """Of all running requests together."""
    step_s: float = 0.001
    """What a step takes besides its tokens."""
    max_num_seqs: int = 32
    """Requests that run at one time; others wait."""
    max_batched_tokens: int = 2_048
    """Of one step."""
    cache_blocks: int = 16_384
    """Blocks of running requests and of what is kept from earlier ones."""
    block_tokens: int = BLOCK_TOKENS
    """Tokens of a block, the unit of the prefix cache."""


@dataclass
class Request:
    """One request in the engine."""

    prompt_tokens: int
    blocks: tuple[int, ...]
    """Names of the prompt's whole blocks."""
    output_tokens: int
    arrived: int = 0
    cached_tokens: int = 0
    computed: int = 0
    """Prompt tokens whose keys and values exist."""
    decoded: int = 0
    pinned: list[int] = field(default_factory=list)
    own_blocks: int = 0

    def prefilled(self) -> bool:
        """Whether the next token of this request is one of its answer."""
        return self.computed >= self.prompt_tokens


@dataclass(frozen=True)
class Step:
    """What one step did."""

    seconds: float
    started: tuple[Request, ...]
    """Requests that got their first token."""
    finished: tuple[Request, ...]
    prefilled_tokens: int
    """Prompt tokens that it computed."""
    decoded_tokens: int
    """Requests that were past their prompt, and got a token each."""


def tokens_of(text: str) -> list[str]:
    """Pieces of a text, about as many as a real tokenizer makes."""
    return _TOKEN.findall(text)


def request_of(prompt: str, output_tokens: int, block_tokens: int = BLOCK_TOKENS) -> Request:
    """A request for the engine.

    Args:
        prompt: the whole text, with the marks of a chat template.
        output_tokens: length of the answer.
        block_tokens: of the engine's `Speed`.
    """
    tokens = tokens_of(prompt)
    blocks, before = [], 0
    for start in range(0, len(tokens) - block_tokens + 1, block_tokens):
        before = hash((before, *tokens[start : start + block_tokens]))
        blocks.append(before)
    return Request(max(1, len(tokens)), tuple(blocks), max(1, output_tokens))


class Engine:
    """The scheduler and its cache.

    Args:
        speed: what the server can do.
    """

    def __init__(self, speed: Speed) -> None:
        self.speed = speed
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.queried_tokens = 0
        self.hit_tokens = 0
        self.placed = (0, 0)
        """Requests that ran and that waited in the last step."""
        self._used: dict[int, int] = {}
        self._kept: OrderedDict[int, bool] = OrderedDict()
        self._own = 0

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self.waiting and not self.running

    @property
    def cache_usage(self) -> float:
        """Share of the blocks that running requests hold."""
        return (len(self._used) + self._own) / self.speed.cache_blocks

    def add(self, request: Request) -> None:
        """Queue a request."""
        self.waiting.append(request)

    def remove(self, request: Request) -> None:
        """Forget a request whose client has gone."""
        if request in self.running:
            self.running.remove(request)
            self._release(request)
        elif request in self.waiting:
            self.waiting.remove(request)

    def step(self) -> Step:
        """Run one step; there must be work."""
        budget = self.speed.max_batched_tokens
        decoding = [request for request in self.running if request.prefilled()]
        budget -= len(decoding)
        prefilled_now: list[Request] = []
        prefill = 0
        for request in self.running:
            if not request.prefilled():
                tokens = self._prefill(request, budget)
                budget -= tokens
                prefill += tokens
                if request.prefilled():
                    prefilled_now.append(request)
        while self.waiting and len(self.running) < self.speed.max_num_seqs and budget > 0:
            request = self.waiting[0]
            if not self._admit(request):
                break
            self.waiting.popleft()
            self.running.append(request)
            tokens = self._prefill(request, budget)
            budget -= tokens
            prefill += tokens
            if request.prefilled():
                prefilled_now.append(request)
        self.placed = (len(self.running), len(self.waiting))
        # The step that ends a prompt samples the first token of its answer.
        for request in (*decoding, *prefilled_now):
            request.decoded += 1
        finished = tuple(r for r in self.running if r.decoded >= r.output_tokens)
        for request in finished:
            self.running.remove(request)
            self._release(request)
        speed = self.speed
        seconds = (
            speed.step_s + prefill / speed.prefill_tokens_s + len(decoding) / speed.decode_tokens_s
        )
        return Step(seconds, tuple(prefilled_now), finished, prefill, len(decoding))

    def _admit(self, request: Request) -> bool:
        """Take cached blocks and find room for the rest."""
        hits = 0
        for block in request.blocks:
            if block not in self._used and block not in self._kept:
                break
            hits += 1
        # The last token is always computed: its output is the first token of the answer.
        hits = min(hits, (request.prompt_tokens - 1) // self.speed.block_tokens)
        reused = sum(block in self._kept for block in request.blocks[:hits])
        whole = request.prompt_tokens + request.output_tokens
        own = -(-whole // self.speed.block_tokens) - len(request.blocks)
        needed = len(request.blocks) - hits + own + reused
        room = self.speed.cache_blocks - len(self._used) - self._own
        if needed > room and self.running:
            return False
        request.own_blocks = own
        self._own += own
        for block in request.blocks:
            # vLLM enters a block into its cache when it is scheduled, not when it is computed:
            # requests of the same step share it.
            self._kept.pop(block, None)
            self._used[block] = self._used.get(block, 0) + 1
            request.pinned.append(block)
        over = len(self._kept) + len(self._used) + self._own - self.speed.cache_blocks
        for _ in range(min(over, len(self._kept))):
            self._kept.popitem(last=False)
        request.cached_tokens = request.computed = hits * self.speed.block_tokens
        self.queried_tokens += request.prompt_tokens
        self.hit_tokens += request.cached_tokens
        return True

    def _prefill(self, request: Request, budget: int) -> int:
        tokens = min(max(0, budget), request.prompt_tokens - request.computed)
        request.computed += tokens
        return tokens

    def _release(self, request: Request) -> None:
        # The end of a prompt goes first, as in vLLM: its start is shared by more requests.
        for block in reversed(request.pinned):
            self._used[block] -= 1
            if not self._used[block]:
                del self._used[block]
                self._kept[block] = True
        request.pinned.clear()
        self._own -= request.own_blocks


def seconds_of(requests: list[Request], speed: Speed) -> float:
    """How long these requests take when all of them are there from the start, in this order."""
    engine = Engine(speed)
    for request in requests:
        engine.add(request)
    seconds = 0.0
    while not engine.idle:
        seconds += engine.step().seconds
    return seconds
