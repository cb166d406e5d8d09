"""Endpoints: a stub server that speaks the API, with every fault that a real one has."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from metier.data.records import Choice, Conversation, Input, as_input
from metier.errors import ArgumentError, InterruptedRun, LackingEnvironment, RunFolderError
from metier.evaluation.elsewhere.answer_journal import AnswerJournal
from metier.evaluation.elsewhere.chat_api import ChatClient
from metier.evaluation.elsewhere.chat_reply import Endpoint, RequestRefusedError
from metier.evaluation.elsewhere.endpoint import AskingSettings, EndpointSystem, first_token_logprobs, open_endpoint
from metier.evaluation.elsewhere.judge import AnswerPair, ask_judge, audit_judge, judge_prompt
from metier.evaluation.elsewhere.recorded import load_recorded
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.model.chat_prompt import ChatPrompt
from metier.model.prompt import PromptFormat
from metier.recipe.sections import EvaluationSection

LABELS = ("cancel", "refund", "track")
PROMPT = PromptFormat(instruction="Answer with the intent.", labels=LABELS, label_texts=LABELS)
KEY = "sk-very-secret-0815"
MESSAGES = [{"role": "user", "content": "hello"}]


class Stub(ThreadingHTTPServer):
    """An endpoint of our own. `faults` go wrong first, one each; then every request is answered."""

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, Any]], str | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer_of = answer
        self.faults: deque[str] = deque()
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.pause = 0.0
        self.running = self.most_running = 0
        self.calls: list[Any] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append({"path": self.path, **body})
            self.server.keys.append(self.headers.get("Authorization"))
            fault = self.server.faults.popleft() if self.server.faults else ""
            self.server.running += 1
            self.server.most_running = max(self.server.most_running, self.server.running)
        time.sleep(self.server.pause)
        with self.server.lock:
            self.server.running -= 1
        if fault:
            getattr(self, f"_{fault.replace(' ', '_').partition(':')[0]}")(fault.partition(":")[2])
        else:
            self._good(body)

    def _good(self, body: dict[str, Any]) -> None:
        text = self.server.answer_of(body)
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        if self.server.calls:
            choice["message"]["tool_calls"] = self.server.calls
        if body.get("logprobs"):
            top = [{"token": label[:3], "logprob": math.log(0.1 + 0.6 * (label == text))} for label in LABELS]
            choice["logprobs"] = {"content": [{"token": str(text)[:3], "logprob": -0.3, "top_logprobs": top}]}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        self._send(200, {"model": "stub-2026", "choices": [choice], "usage": usage})

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, content in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(data)

    def _status(self, said: str) -> None:
        status, _, code = said.partition(" ")
        self._send(int(status), {"error": {"message": f"about: hello {KEY}", "type": "fault", "code": code or None}})

    def _later(self, seconds: str) -> None:
        self._send(429, {"error": {"code": "rate_limit"}}, {"Retry-After": seconds})

    def _cut(self, _: str) -> None:
        self.close_connection = True

    def _half(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')
        self.close_connection = True

    def _no_json(self, _: str) -> None:
        self._send(200, b"<html>busy</html>")

    def _shape(self, body: str) -> None:
        self._send(200, body.encode())

    def _slow(self, seconds: str) -> None:
        time.sleep(float(seconds))
        self.close_connection = True

    def _away(self, _: str) -> None:
        self._send(302, b"", {"Location": "http://example.org/v1"})


def _by_words(body: dict[str, Any]) -> str:
    text = body["messages"][-1]["content"]
    return "refund" if "money" in text else "track" if "parcel" in text else "cancel"


@contextlib.contextmanager
def _serving(answer: Callable[[dict[str, Any]], str | None] = _by_words) -> Iterator[Stub]:
    server = Stub(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    with _serving() as server:
        yield server


def _endpoint(stub: Stub, **changes: Any) -> Endpoint:
    return Endpoint(**{"url": stub.url, "model": "some-model", "backoff": 0.001, "timeout": 5.0, **changes})


def _system(stub: Stub, path: Path, asked: AskingSettings | None = None, **changes: Any) -> EndpointSystem:
    return open_endpoint(_endpoint(stub, **changes), PROMPT, path, name="hosted", asked=asked)


def _said(system: EndpointSystem, records: list[Choice]) -> list[Answer]:
    return list(system.answer([as_input(record) for record in records], AnswerOptions()))


# The client


def test_a_request_and_its_reply(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_KEY", f" {KEY}\n")
    client = ChatClient(_endpoint(stub, api_key_env="STUB_KEY"))
    reply = client.complete(MESSAGES, {"max_tokens": 5, "temperature": 0.0})
    client.close()
    assert (reply.text, reply.stop, reply.tokens_in, reply.tokens_out, reply.tries) == ("cancel", "stop", 100, 10, 1)
    assert reply.served_by == "stub-2026" and reply.seconds > 0
    sent = {"path": "/v1/chat/completions", "model": "some-model", "messages": MESSAGES}
    assert stub.requests == [{**sent, "max_tokens": 5, "temperature": 0.0}]
    assert stub.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize(
    "faults",
    [["status:500"], ["status:429 rate_limit"], ["status:503", "status:529"], ["cut"], ["half"], ["no json"],
     ["cut", "status:502", "half"], ["later:0"]],
    ids=str,
)  # fmt: skip
def test_faults_that_pass_are_tried_again(stub: Stub, faults: list[str]) -> None:
    stub.faults.extend(faults)
    client = ChatClient(_endpoint(stub))
    reply = client.complete(MESSAGES, {})
    client.close()
    assert reply.text == "cancel" and reply.tries == len(faults) + 1 == len(stub.requests)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"error": {"message": "hello"}}', "an answer without `choices`"),
        ('{"choices": []}', "an answer without `choices`"),
        ('{"choices": ["hello"]}', "an answer without a message"),
        ('{"choices": [{"finish_reason": "stop"}]}', "an answer without a message"),
        ('{"choices": [{"message": {"content": {"hello": 1}}}]}', "an answer whose content is no text"),
    ],
)
def test_a_malformed_answer_is_a_fault_and_no_refusal(stub: Stub, tmp_path: Path, body: str, said: str) -> None:
    """It is asked again; what never becomes an answer interrupts, and nothing of it is written down as one."""
    stub.faults.extend([f"shape:{body}"] * 3)
    records = [Choice(id="a", text="my money", label="refund")]
    with pytest.raises(InterruptedRun, match=f"did not answer in 2 tries, the last time with {said}") as told:
        _said(_system(stub, tmp_path / "h.jsonl", retries=1), records)
    assert "hello" not in str(told.value)
    (answer,) = _said(_system(stub, tmp_path / "h.jsonl", retries=1), records)
    assert answer.label == "refund" and len(stub.requests) == 4


def test_a_refusal_in_a_field_of_its_own_is_one(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    stub.faults.append('shape:{"choices": [{"message": {"content": null, "refusal": "I will not read hello"}}]}')
    path = tmp_path / "h.jsonl"
    first, second = _said(_system(stub, path, price_in=1.0, price_out=2.0), make_records(2))
    assert (first.label, first.reason) == (None, "refused by the endpoint: refusal") and second.label is not None
    assert "hello" not in path.read_text(encoding="utf-8")
    # It did not count its tokens: that price is not known, and neither is the sum. Unknown is never 0.
    assert first.price is None and second.price is not None
    assert _system(stub, path).settings["spent"] is None and _system(stub, path).settings["price_per_thousand"] is None


def test_pauses_double_have_a_random_part_and_end_at_a_minute(stub: Stub) -> None:
    stub.faults.extend(["status:500"] * 4)
    waited: list[float] = []
    client = ChatClient(_endpoint(stub, backoff=10.0), sleep=waited.append)
    client.complete(MESSAGES, {})
    client.close()
    for pause, most in zip(waited, (10.0, 20.0, 40.0, 60.0), strict=True):
        assert most / 2 <= pause <= most


def test_the_pause_that_the_service_asks_for_is_kept(stub: Stub) -> None:
    stub.faults.extend(["later:7", "later:Wed, 21 Oct 2015 07:28:00 GMT"])
    waited: list[float] = []
    client = ChatClient(_endpoint(stub), sleep=waited.append)
    client.complete(MESSAGES, {})
    client.close()
    assert waited == [7.0, 0.0]


def test_a_service_that_stays_away_interrupts_the_run_without_its_message(stub: Stub) -> None:
    stub.faults.extend(["status:500 overloaded"] * 3)
    client = ChatClient(_endpoint(stub, retries=2))
    with pytest.raises(
        InterruptedRun, match=r"did not answer in 3 tries, the last time with HTTP 500 \(overloaded\)"
    ) as told:
        client.complete(MESSAGES, {})
    client.close()
    assert told.value.exit_code == 4 and "run it again and it goes on there" in str(told.value)
    assert KEY not in str(told.value) and "hello" not in str(told.value)


def test_a_timeout_is_a_fault_that_passes(stub: Stub) -> None:
    stub.faults.append("slow:0.6")
    client = ChatClient(_endpoint(stub, timeout=0.2))
    assert client.complete(MESSAGES, {}).tries == 2
    client.close()


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("status:401 invalid_api_key", ArgumentError, r"answered HTTP 401 \(invalid_api_key\), wanted a key"),
        (
            "status:404",
            ArgumentError,
            r"answered HTTP 404 \(fault\), wanted an address with /chat/completions",
        ),
        ("away", ArgumentError, "answered HTTP 302: it redirects, wanted the final address"),
        ("status:429 insufficient_quota", InterruptedRun, "insufficient_quota.*The answers so far are kept"),
        ("later:9999", InterruptedRun, "answered HTTP 429"),
    ],
)
def test_faults_that_stay_are_told_at_once(stub: Stub, fault: str, kind: type[Exception], message: str) -> None:
    stub.faults.append(fault)
    client = ChatClient(_endpoint(stub))
    with pytest.raises(kind, match=message) as told:
        client.complete(MESSAGES, {})
    client.close()
    assert len(stub.requests) == 1 and KEY not in str(told.value) and "hello" not in str(told.value)


def test_a_refused_connection_is_told() -> None:
    client = ChatClient(Endpoint(url="http://127.0.0.1:9/v1", model="m", retries=1, backoff=0.001))
    with pytest.raises(InterruptedRun, match=r"did not answer in 2 tries, the last time with a refused connection"):
        client.complete(MESSAGES, {})


def test_no_more_requests_a_minute_than_allowed(stub: Stub) -> None:
    now, waited = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds

    client = ChatClient(_endpoint(stub, requests_per_minute=30.0), sleep=sleep, clock=lambda: now[0])
    for _ in range(4):
        client.complete(MESSAGES, {})
    client.close()
    assert waited == pytest.approx([2.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"url": "ftp://x/v1"}, ArgumentError, "endpoint: what it names is no address"),
        ({"url": "http://x:port/v1"}, ArgumentError, "endpoint: what it names is no address"),
        ({"url": "https://u:p@x/v1"}, ArgumentError, "the address holds more than host and path"),
        ({"url": "http://other.example/v1", "api_key_env": "STUB_KEY"}, ArgumentError, "unencrypted"),
        ({"api_key_env": "NO_SUCH_KEY"}, LackingEnvironment, "the environment variable NO_SUCH_KEY is not set"),
        ({"api_key_env": "BROKEN_KEY"}, LackingEnvironment, "BROKEN_KEY holds what cannot be a key"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    changes: dict[str, Any], kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)
    monkeypatch.setenv("BROKEN_KEY", "a b\x07c")
    with pytest.raises(kind, match=message) as told:
        ChatClient(Endpoint(**{"url": "https://x/v1", "model": "m", **changes}))
    assert KEY not in str(told.value) and "a b" not in str(told.value)


# The system


def test_labels_are_read_seconds_and_price_kept(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    records = make_records(9)
    system = _system(stub, tmp_path / "hosted.jsonl", price_in=1.0, price_out=2.0)
    answers = _said(system, records)
    assert [answer.label for answer in answers] == [record.label for record in records]
    assert all(answer.price == pytest.approx(0.00012) and answer.seconds > 0 for answer in answers)
    assert "The possible answers are: cancel, refund, track." in stub.requests[0]["messages"][0]["content"]
    assert system.settings["spent"] == pytest.approx(9 * 0.00012)
    assert system.settings["served_by"] == ("stub-2026",)
    assert system.settings["price_per_thousand"] == pytest.approx(0.12)
    assert system.settings["prompt_hash"] == PROMPT.with_choices(list_labels=True).hash


def test_invalid_answers_and_refusals_have_a_reason(tmp_path: Path, make_records: Any) -> None:
    said = iter(["refund", "I cannot say", "cancel or track", None])
    with _serving(lambda _: next(said)) as stub:
        answers = _said(_system(stub, tmp_path / "h.jsonl"), make_records(4))
    assert [answer.label for answer in answers] == ["refund", None, None, None]
    assert [answer.reason for answer in answers] == [
        None, "invalid answer: no label", "invalid answer: several labels", "refused by the endpoint: stop",
    ]  # fmt: skip


def test_one_refused_record_is_one_wrong_answer_and_is_asked_again(
    stub: Stub, tmp_path: Path, make_records: Any
) -> None:
    stub.faults.extend(["", "status:400 content_filter"])
    records = make_records(4)
    answers = _said(_system(stub, tmp_path / "h.jsonl"), records)
    assert [answer.reason for answer in answers] == [
        None,
        "refused by the endpoint: HTTP 400 (content_filter)",
        None,
        None,
    ]
    assert all(answer.label for answer in _said(_system(stub, tmp_path / "h.jsonl"), records))
    assert len(stub.requests) == 5


def test_a_request_that_is_always_refused_stops_early(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    stub.faults.extend(["status:400 unknown_field"] * 20)
    with pytest.raises(ArgumentError, match=r"the endpoint refused the first 3 requests, HTTP 400 \(unknown_field\)"):
        _said(_system(stub, tmp_path / "h.jsonl"), make_records(20))
    assert len(stub.requests) == 3


def test_what_is_recorded_is_not_asked_again(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    records, path = make_records(6), tmp_path / "h.jsonl"
    first = _said(_system(stub, path), records)
    again = _said(_system(stub, path), records)
    assert [answer.label for answer in again] == [answer.label for answer in first] and len(stub.requests) == 6
    replayed = open_endpoint(_endpoint(stub), PROMPT, path, name="hosted", replay=True)
    more = [*records, Choice(id="new", text="x", label="cancel")]
    assert [answer.reason for answer in _said(replayed, more)] == [*[None] * 6, "no answer"]
    assert len(stub.requests) == 6


def test_an_interruption_keeps_what_was_answered(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    records, path = make_records(8), tmp_path / "h.jsonl"
    stub.faults.extend(["", "", "", *["status:500"] * 2])
    with pytest.raises(InterruptedRun, match="did not answer in 2 tries"):
        _said(_system(stub, path, retries=1), records)
    assert len(AnswerJournal.open(path, json.loads(path.read_text().splitlines()[0])["about"])) == 3
    assert all(answer.label for answer in _said(_system(stub, path, retries=1), records))
    assert len(stub.requests) == 3 + 2 + 5


def test_several_requests_at_once_give_the_same_answers_in_order(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    records = make_records(40)
    stub.pause = 0.02
    stub.faults.extend(["cut", "status:500", "half", "status:429"])
    answers = _said(_system(stub, tmp_path / "h.jsonl", AskingSettings(parallel=8)), records)
    assert [answer.label for answer in answers] == [record.label for record in records]
    assert 2 <= stub.most_running <= 8


def test_a_rate_limit_while_several_ask_loses_and_doubles_nothing(
    stub: Stub, tmp_path: Path, make_records: Any
) -> None:
    records = make_records(24)
    stub.faults.extend(["", "later:0", "status:429 rate_limit", "", "status:503", "later:0.01", "cut"])
    system = _system(stub, tmp_path / "h.jsonl", AskingSettings(parallel=4))
    assert [answer.label for answer in _said(system, records)] == [record.label for record in records]
    rows = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text(encoding="utf-8").splitlines()[1:]]
    assert sorted(row["id"] for row in rows) == sorted(record.id for record in records)
    assert len(stub.requests) == len(records) + 5 and all(row["seconds"] < 5 for row in rows)


def test_probabilities_of_labels_where_the_service_gives_them(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    records = make_records(3)
    answers = _said(_system(stub, tmp_path / "h.jsonl", AskingSettings(top_logprobs=5)), records)
    assert stub.requests[0]["logprobs"] is True and stub.requests[0]["top_logprobs"] == 5
    for answer in answers:
        assert answer.label_logprobs is not None
        assert max(answer.label_logprobs, key=answer.label_logprobs.__getitem__) == answer.label
        assert sum(map(math.exp, answer.label_logprobs.values())) == pytest.approx(1.0)
        assert math.exp(answer.label_logprobs[str(answer.label)]) == pytest.approx(0.7 / 0.9)


def test_first_tokens_become_labels_only_where_each_has_its_own() -> None:
    labels = ("card arrival", "refund")
    found = first_token_logprobs({" Card": -0.5, "card": -1.5, "ref": -2.0, "the": -3.0}, labels, labels)
    assert found is not None
    card = math.log(math.exp(-0.5) + math.exp(-1.5))
    assert found["card arrival"] - found["refund"] == pytest.approx(card + 2.0)
    assert first_token_logprobs({"card": -0.5}, labels, labels) is None
    assert first_token_logprobs({"re": -0.5}, ("refund", "return"), ("refund", "return")) is None


def test_written_answers_follow_the_chat_prompt(
    tmp_path: Path, make_dialogues: Callable[..., list[Conversation]]
) -> None:
    with _serving(lambda body: body["messages"][-1]["content"].upper()) as stub:
        prompt = ChatPrompt(system="Be brief.")
        system = open_endpoint(_endpoint(stub), prompt, tmp_path / "h.jsonl", name="hosted")
        records = make_dialogues(["QUESTION 0", "other"])
        asked = RecordSet(name="test", records=records, task="generation")
        found = evaluate_system(system, asked, section=EvaluationSection(resamples=200), seed=1)
    assert found.metrics["exact_match"].value == 0.5
    assert stub.requests[0]["messages"] == [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "question 0"},
    ]  # fmt: skip


def test_tools_are_sent_along_and_calls_are_an_answer(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "refund", "parameters": {}}}]
    calls = [{"id": "c1", "type": "function", "function": {"name": "refund", "arguments": "{}"}}]
    with _serving(lambda _: None) as stub:
        stub.calls = calls
        system = open_endpoint(_endpoint(stub), ChatPrompt(), tmp_path / "h.jsonl", name="hosted")
        (answer,) = system.answer([Input(id="a", text="refund it", tools=json.dumps(tools))], AnswerOptions())
    assert json.loads(str(answer.text)) == calls and stub.requests[0]["tools"] == tools


def test_a_limit_on_spending_stops_before_it_is_passed(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    asked = AskingSettings(most_spent=0.0003)
    with pytest.raises(ArgumentError, match=r"3 answers cost 0\.0004 USD, wanted at most 0\.0003"):
        _said(_system(stub, tmp_path / "h.jsonl", asked, price_in=1.0, price_out=2.0), make_records(9))
    assert len(stub.requests) == 3


def test_a_limit_that_cannot_be_held_is_told(tmp_path: Path, stub: Stub, make_records: Any) -> None:
    """A service that counts no tokens: what was spent is not known, and nobody goes on spending."""
    stub.faults.append('shape:{"choices": [{"message": {"content": "refund"}}]}')
    asked = AskingSettings(most_spent=5.0)
    with pytest.raises(ArgumentError, match=r"its answers have no price.*Remove most_spent to ask without a limit"):
        _said(_system(stub, tmp_path / "h.jsonl", asked, price_in=1.0, price_out=2.0), make_records(9))
    assert len(stub.requests) == 1


# The journal


def test_what_was_said_about_a_record_is_forgotten(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    records, path = make_records(6), tmp_path / "journals" / "h.jsonl"
    first = _said(_system(stub, path), records)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"key": "torn", "id": "r0", "answer": "the text of')
    assert AnswerJournal.forget(path, {records[2].id}) == 1
    left = path.read_text(encoding="utf-8")
    assert records[2].id not in [json.loads(line).get("id") for line in left.splitlines()] and "torn" not in left
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["h.jsonl"]
    # The others are still known; that one would be asked again.
    assert [answer.label for answer in _said(_system(stub, path), records)] == [answer.label for answer in first]
    assert len(stub.requests) == 7
    # What a judge said about it goes with it, and a file that is no journal stays as it is.
    pair = AnswerPair(id=records[0].id, question="q", ours="a", theirs="b")
    judge = open_endpoint(_endpoint(stub), judge_prompt(), path.parent / "judge.jsonl", name="judge")
    ask_judge(judge, [pair])
    assert AnswerJournal.forget(path.parent / "judge.jsonl", {records[0].id}) == 2
    (tmp_path / "own.jsonl").write_text('{"id": "r2", "answer": "refund"}\n', encoding="utf-8")
    assert AnswerJournal.forget(tmp_path / "own.jsonl", {records[2].id}) == 0


def test_the_key_is_nowhere_and_the_journal_is_the_owners(
    stub: Stub, tmp_path: Path, make_records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)
    system = _system(stub, tmp_path / "journals" / "h.jsonl", api_key_env="STUB_KEY")
    _said(system, make_records(3))
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY not in path.read_text(encoding="utf-8")
    assert KEY not in json.dumps(dict(system.settings)) and KEY not in repr(system)
    if os.name != "nt":
        assert stat.S_IMODE((tmp_path / "journals" / "h.jsonl").stat().st_mode) == 0o600


def test_a_journal_of_another_model_is_refused(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    path = tmp_path / "h.jsonl"
    _said(_system(stub, path), make_records(1))
    with pytest.raises(ArgumentError, match=r"holds answers that were recorded in another way \(model differ\)"):
        _system(stub, path, model="another-model")
    with pytest.raises(ArgumentError, match=r"\(request differ\)"):
        _system(stub, path, AskingSettings(temperature=0.5))
    # How patiently it is asked, and what it costs, changes no answer.
    assert len(_system(stub, path, retries=1, price_in=3.0, price_out=3.0).journal) == 1


def test_a_torn_line_is_asked_again_and_a_damaged_one_is_told(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    records, path = make_records(4), tmp_path / "h.jsonl"
    _said(_system(stub, path), records)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert all(answer.label for answer in _said(_system(stub, path), records)) and len(stub.requests) == 5
    path.write_bytes(whole.replace(b'{"key"', b'{"key', 1))
    with pytest.raises(RunFolderError, match="line 2: is damaged"):
        _system(stub, path)


def test_a_journal_is_a_file_of_recorded_answers(stub: Stub, tmp_path: Path, make_records: Any) -> None:
    """Recorded today, judged when the model is gone."""
    records, path = make_records(6), tmp_path / "h.jsonl"
    asked = AskingSettings(top_logprobs=3)
    first = _said(_system(stub, path, asked, price_in=1.0, price_out=1.0), records)
    recorded = load_recorded(path, records, name="gone", labels=LABELS)
    again = list(recorded.answer([as_input(record) for record in records], AnswerOptions()))
    for one, other in zip(first, again, strict=True):
        assert (one.label, one.text, one.price, one.label_logprobs) == (
            other.label,
            other.text,
            other.price,
            other.label_logprobs,
        )
    assert recorded.settings["missing"] == 0 and recorded.settings["rows"] == 6


def test_a_judge_behind_an_endpoint_is_asked_in_both_orders(tmp_path: Path) -> None:
    def judged(body: dict[str, Any]) -> str:
        first, _, second = body["messages"][-1]["content"].partition("First answer:\n")[2].partition("Second answer:\n")
        return "The **first** answer is better." if len(first) >= len(second) + 2 else "second"

    pairs = [AnswerPair(id=f"p{n}", question="why?", ours="because of the rain", theirs="so") for n in range(4)]
    with _serving(judged) as stub:
        judge = open_endpoint(_endpoint(stub), judge_prompt(), tmp_path / "judge.jsonl", name="judge")
        verdicts = ask_judge(judge, pairs)
    assert [verdict.winner for verdict in verdicts] == ["ours"] * 4 and len(stub.requests) == 8
    assert audit_judge(verdicts, {}, resamples=200).headline is None


RECORDING = """
import sys
from metier.data.records import Input
from metier.evaluation.elsewhere.endpoint import open_endpoint
from metier.evaluation.elsewhere.chat_reply import Endpoint
from metier.evaluation.systems import AnswerOptions
from metier.model.prompt import PromptFormat
labels = ("cancel", "refund", "track")
prompt = PromptFormat(instruction="Answer with the intent.", labels=labels, label_texts=labels)
system = open_endpoint(Endpoint(url=sys.argv[1], model="some-model", backoff=0.001, timeout=5.0), prompt,
                       __import__("pathlib").Path(sys.argv[2]), name="hosted")
list(system.answer([Input(id=f"r{n}", text=f"number {n}: money") for n in range(40)], AnswerOptions()))
"""


@pytest.mark.skipif(os.name == "nt", reason="kills a process")
def test_a_killed_recording_goes_on_where_it_was(stub: Stub, tmp_path: Path, repository: Path) -> None:
    path = tmp_path / "h.jsonl"
    stub.pause = 0.03
    process = subprocess.Popen([sys.executable, "-c", RECORDING, stub.url, str(path)], cwd=repository)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not path.exists() or path.read_bytes().count(b"\n") < 8):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = path.read_bytes().count(b"\n") - 1
    assert 7 <= kept < 40
    stub.pause = 0.0
    time.sleep(0.1)  # the answer that was on its way
    before = len(stub.requests)
    inputs = [Input(id=f"r{n}", text=f"number {n}: money") for n in range(40)]
    answers = list(_system(stub, path).answer(inputs, AnswerOptions()))
    assert [answer.label for answer in answers] == ["refund"] * 40
    assert len(stub.requests) - before == 40 - kept and before <= kept + 2


def test_a_refusal_is_an_error_with_its_status() -> None:
    assert str(RequestRefusedError(400, "content_filter")) == "HTTP 400 (content_filter)"
