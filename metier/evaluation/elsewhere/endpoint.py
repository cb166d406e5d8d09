"""The system behind an OpenAI-compatible endpoint: asked in chat, its labels read from what it writes.

Every answer goes into a journal as it comes, so a kill loses at most what was on its way, and a model that will be
switched off can be recorded today and judged later. Loads no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from metier.data.records import Input
from metier.errors import ArgumentError
from metier.evaluation.elsewhere.answer_journal import AnswerJournal, RecordedReply
from metier.evaluation.elsewhere.chat_api import ChatClient
from metier.evaluation.elsewhere.chat_reply import Endpoint, Reply, RequestRefusedError
from metier.evaluation.labels.label_metrics import MISSING, REFUSED
from metier.evaluation.labels.label_reading import LabelReader, plain
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.events import Observer, Progress, tell
from metier.model.chat_prompt import ChatPrompt
from metier.model.prompt import PromptFormat
from metier.store.fingerprint import fingerprint

FIRST_REFUSED = 3
"""So many refusals before any answer mean that the request itself is wrong, not three records."""
STOPS = {"stop": "end of turn", "length": "length"}
"""The service's `finish_reason` in our words; others stay as they are."""


@dataclass(frozen=True, kw_only=True)
class AskingSettings:
    """How an endpoint is asked."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int | None = None
    """Sent along where given; services promise little about it."""
    top_logprobs: int | None = None
    """Ask for so many alternatives of the first token (1 to 20), for probabilities of labels. None: not asked."""
    parallel: int = 1
    """Requests on their way at once."""
    tokens_field: str = "max_tokens"
    """Name of the field that limits an answer; some services want `max_completion_tokens`."""
    most_spent: float | None = None
    """Stop before more than this is spent, in the endpoint's currency. None: no limit."""

    def fields(self) -> dict[str, Any]:
        """The fields of a request besides model and messages."""
        found: dict[str, Any] = {self.tokens_field: self.max_new_tokens, "temperature": self.temperature}
        if self.seed is not None:
            found["seed"] = self.seed
        if self.top_logprobs is not None:
            found |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return found


@dataclass(eq=False, kw_only=True)
class EndpointSystem:
    """A model behind an endpoint."""

    name: str
    endpoint: Endpoint
    prompt: PromptFormat | ChatPrompt
    """Of labels, which it names, or of written answers."""
    asked: AskingSettings
    journal: AnswerJournal
    client: ChatClient | None
    """None: only what the journal holds is answered, and nothing is sent."""
    observers: Sequence[Observer] = ()
    trained_on: str = "unknown"
    parameters: int | None = None
    bytes: int | None = None
    _answered: int = field(default=0, init=False, repr=False)
    _refused: int = field(default=0, init=False, repr=False)
    _lost: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    """Key -> why the endpoint refused it, in this process."""

    @property
    def kind(self) -> str:
        """The model and the host that serves it."""
        return f"{self.endpoint.model} at {urlsplit(self.endpoint.url).hostname}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """How it was asked, and what that cost so far."""
        spent = self.journal.total_price()
        return {
            **about_endpoint(self.endpoint, self.prompt, self.asked), "prompt_hash": self.prompt.hash,
            "recorded": len(self.journal), "served_by": self.journal.served_by(), "spent": spent,
            "currency": self.endpoint.currency,
            "price_per_thousand": 1000 * spent / len(self.journal) if spent is not None and len(self.journal) else None,
        }  # fmt: skip

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """One answer for every input, in order; what the journal holds is not asked again."""
        keys = [self._key(given) for given in inputs]
        if self.client is not None:
            self._record(dict(zip(keys, inputs, strict=True)), self.client)
        for given, key in zip(inputs, keys, strict=True):
            yield self._answer(given, key)

    def _key(self, given: Input) -> str:
        """What is asked, and for which record: so that the journal answers every record by its id."""
        return fingerprint([self._messages(given), given.tools, given.id])[:32]

    def _messages(self, given: Input) -> list[dict[str, Any]]:
        if isinstance(self.prompt, PromptFormat):
            return [dict(turn) for turn in self.prompt.messages(given.text)]
        return self.prompt.messages(given.turns)

    def _record(self, wanted: Mapping[str, Input], client: ChatClient) -> None:
        """Ask for what the journal lacks, several at once; each answer is written down as it comes."""
        todo = [(key, given) for key, given in wanted.items() if self.journal.find(key) is None]
        if not todo:
            return
        client.go_on()
        done, waiting = len(wanted) - len(todo), iter(todo)
        pool = ThreadPoolExecutor(max_workers=max(1, self.asked.parallel))
        running: set[Future[None]] = set()
        try:
            while True:
                while len(running) < max(1, self.asked.parallel) and (pair := next(waiting, None)) is not None:
                    self._refuse_overspending()
                    running.add(pool.submit(self._ask, client, *pair))
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()  # raises what went wrong there
                    done += 1
                tell(self.observers, Progress(label=self.name, done=done, total=len(wanted)))
        finally:
            # What is on its way is waited for: it is paid for, and is written down. Nothing is tried again.
            client.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            client.close()

    def _ask(self, client: ChatClient, key: str, given: Input) -> None:
        try:
            tools = {"tools": json.loads(given.tools)} if given.tools else {}
            reply = client.complete(self._messages(given), {**self.asked.fields(), **tools})
        except RequestRefusedError as refusal:
            self._refused += 1
            if self._refused >= FIRST_REFUSED and not self._answered and not len(self.journal):
                raise self._all_refused(refusal) from refusal
            # Not written down: another day, or a mended setting, may bring an answer.
            self._lost[key] = f"{REFUSED}: {refusal}"
            return
        self._answered += 1
        self.journal.keep(key, self._recorded(given, reply))

    def _recorded(self, given: Input, reply: Reply) -> RecordedReply:
        return RecordedReply(
            id=given.id, answer=reply.text, stop=STOPS.get(reply.stop, reply.stop), seconds=reply.seconds,
            tokens_in=reply.tokens_in, tokens_out=reply.tokens_out,
            price=self.endpoint.price(reply.tokens_in, reply.tokens_out), served_by=reply.served_by,
            label_logprobs=self._label_logprobs(reply.first_token),
            reason=None if reply.text is not None else f"{REFUSED}: {reply.stop}",
        )  # fmt: skip

    def _label_logprobs(self, tokens: Mapping[str, float] | None) -> dict[str, float] | None:
        if tokens is None or not isinstance(self.prompt, PromptFormat):
            return None
        return first_token_logprobs(tokens, self.prompt.labels, self.prompt.label_texts)

    def _answer(self, given: Input, key: str) -> Answer:
        reply = self.journal.find(key)
        if reply is None or reply.answer is None:
            reason = self._lost.get(key, MISSING) if reply is None else reply.reason
            seconds, price = (reply.seconds, reply.price) if reply is not None else (0.0, None)
            return Answer(id=given.id, label=None, stop="none", reason=reason, seconds=seconds, price=price)
        tokens = (reply.tokens_in or 0) + (reply.tokens_out or 0)
        if not isinstance(self.prompt, PromptFormat):
            return Answer(
                id=given.id, label=None, text=reply.answer, stop=reply.stop, seconds=reply.seconds, tokens=tokens,
                price=reply.price,
            )  # fmt: skip
        found = LabelReader(labels=self.prompt.labels, texts=self.prompt.label_texts).read(reply.answer)
        sure = dict(reply.label_logprobs) if reply.label_logprobs is not None else None
        return Answer(
            id=given.id, label=found.label, text=reply.answer, stop=reply.stop, seconds=reply.seconds, tokens=tokens,
            price=reply.price, label_logprobs=sure, reason=None if found.label is not None else found.how,
        )  # fmt: skip

    def _refuse_overspending(self) -> None:
        limit, spent = self.asked.most_spent, self.journal.total_price()
        if limit is not None and spent is None:
            raise ArgumentError(
                f"system {self.name}", "its answers have no price, so what is spent is not known",
                "price_in, price_out and a service that counts tokens", "Remove most_spent to ask without a limit.",
            )  # fmt: skip
        if limit is not None and spent is not None and spent >= limit:
            raise ArgumentError(
                f"system {self.name}", f"{len(self.journal)} answers cost {spent:.4f} {self.endpoint.currency}",
                f"at most {limit:g}", "Raise the limit, or judge fewer records; what was answered is kept.",
            )  # fmt: skip

    def _all_refused(self, refusal: RequestRefusedError) -> ArgumentError:
        return ArgumentError(
            f"system {self.name}", f"the endpoint refused the first {self._refused} requests, {refusal}",
            "a request that it understands",
            "Check model, max_new_tokens and top_logprobs: not every service knows every field.",
        )  # fmt: skip


def open_endpoint(
    endpoint: Endpoint,
    prompt: PromptFormat | ChatPrompt,
    journal: Path,
    *,
    name: str,
    asked: AskingSettings | None = None,
    replay: bool = False,
    observers: Sequence[Observer] = (),
) -> EndpointSystem:
    """The system behind an endpoint that the recipe names.

    Args:
        endpoint: Where it is.
        prompt: How a record is put before it.
        journal: The file that answers are written to, and read back from.
        name: Name of the system.
        asked: How it is asked. None: one short answer at temperature 0.
        replay: Whether nothing may be sent: records that the journal lacks have no answer.
        observers: Told how far it is.

    Raises:
        ArgumentError: The address cannot be used, or the journal holds answers of another model or prompt.
        LackingEnvironment: The key's variable is not set.
    """
    asked = asked or AskingSettings()
    if isinstance(prompt, PromptFormat):
        # Nobody can score its labels from here: it has to know what it may say.
        prompt = prompt.with_choices(list_labels=True, shots=prompt.shots)
    kept = AnswerJournal.open(journal, about_endpoint(endpoint, prompt, asked))
    client = None if replay else ChatClient(endpoint)
    return EndpointSystem(
        name=name, endpoint=endpoint, prompt=prompt, asked=asked, journal=kept, client=client, observers=observers
    )


def about_endpoint(endpoint: Endpoint, prompt: PromptFormat | ChatPrompt, asked: AskingSettings) -> dict[str, Any]:
    """Everything that answers depend on besides what is asked: what a journal is bound to. Holds no key.

    How patiently and how fast it is asked, and what that costs, changes no answer.
    """
    return {
        "endpoint": endpoint.url.rstrip("/"), "model": endpoint.model, "prompt": prompt.hash,
        "request": asked.fields(),
    }  # fmt: skip


def first_token_logprobs(
    tokens: Mapping[str, float], labels: Sequence[str], texts: Sequence[str]
) -> dict[str, float] | None:
    """Probabilities of labels by the first token of an answer, normalised over labels.

    A token belongs to the one label whose words begin with it; one that begins two labels belongs to none. None
    unless every label has a token of its own: a part of the labels would look surer than it is.

    Args:
        tokens: Log-probability of each alternative.
        labels: The labels.
        texts: What the prompt calls each, in their order.
    """
    found: dict[str, float] = {}
    words = [plain(text) for text in texts]
    for token, logprob in tokens.items():
        piece = plain(token)
        owners = [label for label, text in zip(labels, words, strict=True) if piece and text.startswith(piece)]
        if len(owners) == 1:
            # Tokens of different case or spacing are ways of saying the same.
            before = found.get(owners[0], -math.inf)
            found[owners[0]] = max(before, logprob) + math.log1p(math.exp(-abs(before - logprob)))
    if set(found) != set(labels):
        return None
    top = max(found.values())
    total = top + math.log(sum(math.exp(value - top) for value in found.values()))
    return {label: found[label] - total for label in labels}
