"""Writing answers: prompts are read as token trees, then every row gets one token a step until it ends.

What all prompts begin with is computed and kept once. Rows that end leave at once and waiting prompts
take their place, so steps are full while there is work. A family whose attention does not fit runs one
answer at a time by transformers' own generation, with one notice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from metier.device import available_memory_bytes
from metier.engine.attention import TreeUnsupportedError, attend_to_trees
from metier.engine.forward import TOLERANCE, Prefix, TreeRunner, distance, plain_logits
from metier.engine.network import without_dropout
from metier.engine.packed import packed_linears
from metier.engine.plain import write_plainly
from metier.engine.rows import Read, Row, Written
from metier.engine.sampling import Decoding, choose
from metier.engine.slots import Slots
from metier.engine.tree import Ints, TokenSequence, TokenTree, canonical_order, common_start, cut_into_groups
from metier.engine.tree import shared_length as length_in_common
from metier.engine.trunk_memory import bring_back
from metier.events import Notice, Observer, Progress, tell
from metier.team import current_team

__all__ = ["Decoding", "Written", "generate"]

PROGRESS = "writing"
"""Name of the progress bar."""
SHORTEST_PREFIX = 32
"""A shorter shared beginning is kept in every slot: two products for one cost more than it does."""
PROBE_TOKENS = 16
"""Tokens of the prompt on which decoding is compared with the plain forward."""
MEMORY = 0.5
"""Share of the free memory that slots may take."""
WORTH_PACKING = {torch.float32: 24, torch.bfloat16: 48}
"""Decoding steps from which packing the weights costs less than it saves."""
WORTH_SORTING = 0.8
"""Prompts are taken in canonical order when so few of their tokens are distinct, else the longest first."""


def generate(
    runner: TreeRunner,
    prompts: Sequence[Ints],
    decoding: Decoding,
    *,
    read: Read | None = None,
    budget: int = 2048,
    observers: Sequence[Observer] = (),
    numbers: Sequence[int] | None = None,
) -> list[Written]:
    """Write an answer to every prompt.

    All processes of a team call it with the same arguments; each writes its share of the answers.

    Args:
        runner: The model. A trunk cache of it is set aside meanwhile.
        prompts: N prompts as token ids, none empty.
        decoding: How tokens are chosen and what ends an answer.
        read: Text of token ids; stop texts need it.
        budget: Distinct tokens of one forward pass over prompts; changes memory, not results.
        observers: Told about progress.
        numbers: The number of each prompt that sampling is a function of; its place in `prompts` by default.

    Returns:
        N answers in the order of `prompts`.

    Raises:
        ValueError: an empty prompt, or stop texts without `read`.
    """
    if any(len(prompt) == 0 for prompt in prompts):
        raise ValueError("a prompt has at least one token")
    if decoding.stop_texts and read is None:
        raise ValueError("stop texts need `read`")
    seeds = range(len(prompts)) if numbers is None else numbers
    team = current_team()
    # In canonical order, what begins alike is written by one process.
    order = canonical_order(prompts) if team.size > 1 else range(len(prompts))
    mine = [order[place] for place in team.share(len(prompts))]
    rows = [Row(place, prompts[place], decoding, decoding.generator(seeds[place]), read) for place in mine]
    _write_rows(runner, rows, decoding, budget, observers)
    if team.size == 1:
        return [row.written() for row in rows]
    plain = team.put_values_together([[row.number, row.written().to_plain()] for row in rows])
    return [Written.from_plain(each) for _, each in sorted(plain, key=lambda pair: pair[0])]


def _write_rows(
    runner: TreeRunner, rows: Sequence[Row], decoding: Decoding, budget: int, observers: Sequence[Observer]
) -> None:
    """Write the answers of this process."""

    def report() -> None:
        done = sum(row.stop is not None for row in rows)
        tell(observers, Progress(label=PROGRESS, done=done, total=len(rows)))

    if rows:
        bring_back(runner.network)  # weights are read before the first forward pass, to be packed
        with torch.no_grad(), without_dropout(runner.network), _trunk_set_aside(runner), runner.cast():
            if _fits(runner, rows):
                with _packed(runner, rows, decoding):
                    _Writer(runner, rows, decoding, budget).write(report)
            else:
                write_plainly(runner.network, rows, report)


@dataclass(eq=False)
class _Writer:
    """Writes all rows together: as many at a time as the batch size says."""

    runner: TreeRunner
    rows: Sequence[Row]
    decoding: Decoding
    budget: int

    def __post_init__(self) -> None:
        """Read the shared beginning, and line the rows up."""
        started = time.perf_counter()
        prompts = [row.prompt for row in self.rows]
        shared = common_start(prompts)
        self.prefix: Prefix | None = None
        if len(shared) >= SHORTEST_PREFIX:
            self.prefix = self.runner.prefill(shared)
        self.cut = 0 if self.prefix is None else len(shared)
        self.size = self._most_rows(max(len(prompt) for prompt in prompts) - self.cut)
        self.slots = Slots(self.size, self.prefix)
        self.waiting = deque(self.rows[number] for number in _order(prompts, self.cut))
        self.active: list[Row] = []
        self.waiting[0].computed += self.cut
        self.waiting[0].seconds += time.perf_counter() - started

    def write(self, report: Callable[[], None]) -> None:
        """Until every row has ended; `report` is called whenever some have."""
        with attend_to_trees(self.runner.network):
            while self.waiting or self.active:
                free = self.size - len(self.active)
                if self.waiting and (4 * free >= self.size or not self.active):
                    self._admit([self.waiting.popleft() for _ in range(min(free, len(self.waiting)))])
                else:
                    self._step()
                if self._leave():
                    report()

    def _most_rows(self, longest: int) -> int:
        """Rows that are written at a time: the batch size, or as many as the memory holds at their longest."""
        size = min(self.decoding.batch_size, len(self.rows))
        if self.runner.network.device.type == "cuda":
            return size
        row = self.runner.token_bytes * (longest + self.decoding.max_new_tokens)
        return max(1, min(size, int(MEMORY * available_memory_bytes()) // max(1, row)))

    def _admit(self, rows: Sequence[Row]) -> None:
        """Read the prompts of `rows`, give them slots, and choose their first tokens."""
        rests = [_sequence(row.prompt[self.cut :]) for row in rows]
        for group in cut_into_groups(rests, self.budget):
            started = time.perf_counter()
            some, sequences = [rows[number] for number in group], [rests[number] for number in group]
            tree = TokenTree.build(sequences, offset=self.cut)
            ends = np.array([path[-1] for path in tree.paths])
            nodes, back = np.unique(ends, return_inverse=True)
            logits, state = self.runner.read(tree, sequences, self.prefix, nodes)
            self.slots.add(state, tree.paths)
            self.active.extend(some)
            self._take(some, logits[torch.from_numpy(back).to(logits.device)])
            _share_costs(some, tree, time.perf_counter() - started)

    def _step(self) -> None:
        """One token more for every active row."""
        started = time.perf_counter()
        logits = step_logits(self.runner, self.slots, [row.ids[-1] for row in self.active])
        self._take(self.active, logits)
        seconds = (time.perf_counter() - started) / len(self.active)
        for row in self.active:
            row.computed += 1
            row.seconds += seconds

    def _take(self, rows: Sequence[Row], logits: Tensor) -> None:
        penalised = self.decoding.repetition_penalty != 1.0
        histories = [row.history for row in rows] if penalised else []
        tokens = choose(logits, histories, [row.generator for row in rows], self.decoding)
        for row, token in zip(rows, tokens, strict=True):
            row.take(token)

    def _leave(self) -> bool:
        """Let rows that have ended go; returns whether there were any."""
        ended = [place for place, row in enumerate(self.active) if row.stop is not None]
        if ended:
            for source, target in self.slots.remove(ended):
                self.active[target] = self.active[source]
            del self.active[len(self.slots) :]
        return bool(ended)


def step_logits(runner: TreeRunner, slots: Slots, tokens: Sequence[int]) -> Tensor:
    """Feed one token to each row; returns the logits after it, shape (n, V).

    Attention must be in the hands of the engine (`attend_to_trees`).
    """
    device, step = runner.network.device, slots.step()
    output = runner.network(
        input_ids=torch.tensor(tokens, dtype=torch.long, device=device)[:, None],
        position_ids=torch.from_numpy(step.positions).to(device),
        use_cache=False,
        tree_layout=step,
    )
    slots.advance()
    logits: Tensor = output.logits[:, -1]
    return logits


def _fits(runner: TreeRunner, rows: Sequence[Row]) -> bool:
    """Whether this family can be run over trees and slots; found out once, said once when it cannot."""
    prompt = max((row.prompt for row in rows), key=len)
    if runner.plain or not runner.probe([_sequence(prompt[:PROBE_TOKENS], 1)]):
        return False
    if runner.writes is None:
        runner.writes = _writes(runner, prompt)
    return runner.writes


def _writes(runner: TreeRunner, prompt: Ints) -> bool:
    """Compare two steps over slots with the plain forward; says it where they differ."""
    ids = np.resize(prompt, max(8, min(len(prompt), PROBE_TOKENS)))
    whole = [ids, ids[: len(ids) // 2 + 2]]
    wanted = plain_logits(runner.network, [_sequence(part, 2) for part in whole])
    reference = wanted.view(2, 2, wanted.shape[1])
    cut = len(ids) // 4
    rests = [_sequence(part[cut:-2]) for part in whole]
    try:
        prefix = runner.prefill(ids[:cut])
        tree = TokenTree.build(rests, offset=cut)
        _, state = runner.read(tree, rests, prefix, tree.paths[0][-1:])
        slots = Slots(2, prefix)
        slots.add(state, tree.paths)
        runner.token_bytes = slots.token_bytes
        with attend_to_trees(runner.network):
            steps = [step_logits(runner, slots, [int(part[place]) for part in whole]).float() for place in (-2, -1)]
    except (TreeUnsupportedError, TypeError, ValueError) as fault:
        return _write_one_by_one(runner, f"{type(fault).__name__}: {fault}")
    difference = distance(torch.stack(steps, dim=1), reference)
    dtype = torch.bfloat16 if runner.autocast else runner.network.dtype
    if not difference <= TOLERANCE[dtype]:
        return _write_one_by_one(runner, f"logits of written tokens differ by {difference:.2g} of their spread")
    return True


def _write_one_by_one(runner: TreeRunner, why: str) -> bool:
    name = type(runner.network).__name__
    tell(runner.observers, Notice(topic="engine", message=f"{name} writes one answer at a time: {why}."))
    return False


def _sequence(ids: Ints, answer: int = 0) -> TokenSequence:
    """`ids` as inputs; with `answer`, logits after the last so many of them are wanted."""
    if not answer:
        return TokenSequence(ids, np.zeros(len(ids), dtype=np.bool_))
    padded = np.append(ids, 0)
    targets = np.zeros(len(padded), dtype=np.bool_)
    targets[-answer:] = True
    return TokenSequence(padded, targets)


def _packed(runner: TreeRunner, rows: Sequence[Row], decoding: Decoding) -> AbstractContextManager[object]:
    """Packed weights inside, where there is enough to do."""
    size = min(decoding.batch_size, len(rows))
    enough = WORTH_PACKING.get(runner.network.dtype)
    if enough is None or len(rows) * decoding.max_new_tokens < enough * size:
        return nullcontext()
    return packed_linears(runner.network, rows=size, autocast=runner.autocast)


def _order(prompts: Sequence[Ints], cut: int) -> list[int]:
    """Numbers of the prompts in the order in which they are taken."""
    canonical = canonical_order(prompts)
    total = sum(len(prompt) - cut for prompt in prompts)
    shared = sum(length_in_common(prompts[before], prompts[after]) - cut for before, after in pairwise(canonical))
    if total - shared <= WORTH_SORTING * total:
        return canonical
    return sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))


def _share_costs(rows: Sequence[Row], tree: TokenTree, seconds: float) -> None:
    """Book a tree's tokens on the rows that first needed them, and its time by their number."""
    seen = np.zeros(len(tree), dtype=np.bool_)
    for row, path in zip(rows, tree.paths, strict=True):
        new = int((~seen[path]).sum())
        seen[path] = True
        row.computed += new
        row.seconds += seconds * new / len(tree)


@contextmanager
def _trunk_set_aside(runner: TreeRunner) -> Iterator[None]:
    """Inside, all layers are computed: nothing is stored for tokens that are only being written."""
    trunk, runner.trunk = runner.trunk, None
    try:
        yield
    finally:
        if not runner.plain:
            runner.trunk = trunk
