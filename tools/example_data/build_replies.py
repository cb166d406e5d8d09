"""Build the data of the demo's second act: answers as one JSON object, from the inbox that build.py has written.

The answer to a message is ``{"intent": ..., "urgency": ..., "reply": ...}``. The intent is the true one, the urgency
follows a rule (`urgency_of`), the reply is the one that was written by hand, or, for a message of train without one,
sentences of ``replies.txt``. The test part holds replies written by hand only.

Run ``python build_replies.py`` after ``build.py``; the same files give the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "metier" / "data" / "example"
SECOND_NAME = {"stop_subscription": "cancel_subscription"}
LEVELS = ("low", "normal", "high")
NO_HURRY = (
    "cancel_subscription",
    "invoice_request",
    "pause_subscription",
    "product_question",
    "resume_subscription",
    "return_request",
)
SOMETHING_GONE = ("double_charge", "order_not_received")
PRESSING = re.compile(
    r"\b(today|tonight|tomorrow|urgent|urgently|asap|as soon as possible|quick|quickly|hurry|immediately|at once"
    r"|right now|deadline|still|again|second time|third|weeks|glass|metal|burnt|sparks"
    r"|heute|morgen|sofort|dringend|immer noch|aujourd'hui|toujours|encore)\b",
    re.IGNORECASE,
)
FOREIGN = re.compile(
    r"\b(ich|bitte|mijn|graag|sinds|goedemorgen|je|bonjour|mi|está|mis|hola|ele|boa|pedí|intento|meu)\b", re.IGNORECASE
)
ORDER = re.compile(r"\b(?:lr-)?(2\d{4})\b")
THINGS = (
    ("the Heron Mini", "heron mini"),
    ("the Heron", "heron"),
    ("the Millstone 2", "millstone"),
    ("the Burrow", "burrow"),
    ("the kettle", "kettle"),
    ("the grinder", "grinder", "burrs"),
    ("the scale", "scale"),
    ("the drip stand", "drip stand"),
    ("the filters", "filters"),
    ("the coffee", "coffee", "bag*", "beans"),
)


@dataclass
class Sentences:
    """What `replies.txt` says about one intent."""

    slots: dict[int, list[tuple[tuple[str, ...], str]]] = field(default_factory=dict)
    whole: list[tuple[str, str]] = field(default_factory=list)


def read_sentences() -> dict[str, Sentences]:
    """Read `replies.txt`: intent -> its sentences."""
    found: dict[str, Sentences] = {}
    intent = ""
    for line in (HERE / "replies.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            intent = line[3:].strip()
            found[intent] = Sentences()
        elif line.startswith("= "):
            cue, reply = line[2:].split("|")
            found[intent].whole.append((cue.strip().lower(), reply.strip()))
        elif line and line[0].isdigit():
            slot, cues, sentence = line.split("|")
            wanted = tuple(cue.strip() for cue in cues.split(",") if cue.strip())
            found[intent].slots.setdefault(int(slot), []).append((wanted, sentence.strip()))
    return found


def urgency_of(intent: str, text: str) -> str:
    """The urgency of a message: where its intent starts, one level up if it holds a pressing word.

    Args:
        intent: What the customer wants.
        text: Subject and body.
    """
    level = 0 if intent in NO_HURRY else 2 if intent in SOMETHING_GONE else 1
    return LEVELS[min(2, level + bool(PRESSING.search(text)))]


def written(intent: str, text: str, sentences: dict[str, Sentences]) -> str | None:
    """A reply made of sentences; None where there is none for this message.

    Args:
        intent: What the customer wants.
        text: Subject and body.
        sentences: As read from `replies.txt`.
    """
    known, lower = sentences[intent], text.lower()
    for cue, reply in known.whole:
        if cue in lower:
            return _framed(reply)
    if not known.slots:
        return None
    draw = int(hashlib.sha256(text.encode("utf-8")).hexdigest(), 16)
    parts: list[str] = []
    for slot, choices in sorted(known.slots.items()):
        draw, odd = divmod(draw, 2)
        if slot == 3 and odd:
            continue
        deciding = next((cues for cues, _ in choices if _holds(lower, cues)), ())
        fitting = [sentence for cues, sentence in choices if cues == deciding]
        draw, place = divmod(draw, len(fitting))
        parts.append(fitting[place])
    return _framed(_filled(" ".join(parts), lower))


def _holds(text: str, cues: tuple[str, ...]) -> bool:
    return any(
        re.search(rf"\b{re.escape(cue.rstrip('*'))}" + ("" if cue.endswith("*") else r"\b"), text) for cue in cues
    )


def _filled(reply: str, text: str) -> str:
    order = ORDER.search(text)
    item = next((name for name, *cues in THINGS if _holds(text, tuple(cues))), "the item")
    for name, value in (("order", f"order {order[1]}" if order else "your order"), ("item", item)):
        reply = reply.replace(f"{{{name}}}", value).replace(f"{{{name.title()}}}", value[0].upper() + value[1:])
    return reply


def _framed(reply: str) -> str:
    return f"Hello,\n\n{reply}\n\nWarm regards,\nLarkmoor Roasters"


def answer_of(intent: str, text: str, reply: str) -> str:
    """The answer to a message as it is trained: one line of JSON."""
    return json.dumps({"intent": intent, "urgency": urgency_of(intent, text), "reply": reply}, ensure_ascii=False)


def read_rows(name: str) -> list[dict[str, str]]:
    """The rows of a part of the inbox that can be parsed."""
    with (TARGET / name).open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        return [row for row in reader if None not in row and None not in row.values()]


def train_rows(truth: dict[str, list[dict[str, object]]]) -> list[dict[str, str]]:
    """The rows of train without a planted flaw; wrong labels are put right, the second name is unified.

    Args:
        truth: As in `truth.json`.
    """
    left_out = {str(row["second"]) for key in ("exact_duplicates", "near_duplicates") for row in truth[key]}
    left_out |= {str(row["ticket_id"]) for key in ("broken_rows", "personal_data") for row in truth[key]}
    left_out |= {str(ticket) for pair in truth["contradictions"] for ticket in _listed(pair["tickets"])}
    left_out |= {str(ticket) for ticket in truth["empty_rows"]}
    true_intent = {str(row["ticket_id"]): str(row["true_intent"]) for row in truth["wrong_labels"]}
    rows = [row for row in read_rows("train.csv") if row["ticket_id"] not in left_out]
    for row in rows:
        intent = true_intent.get(row["ticket_id"], row["intent"])
        row["intent"] = SECOND_NAME.get(intent, intent)
    return rows


def _listed(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def answered(rows: list[dict[str, str]], sentences: dict[str, Sentences] | None) -> list[dict[str, str]]:
    """Every row that has a reply, as a line of the file.

    Args:
        rows: Rows of the inbox.
        sentences: For replies to rows without one. None: such rows are left out.
    """
    lines = []
    for row in rows:
        text = f"{row['subject']}\n{row['body']}".strip()
        reply: str | None = row["reply"]
        if not reply and sentences is not None and not FOREIGN.search(text):
            reply = written(row["intent"], text, sentences)
        if reply:
            line = {key: row[key] for key in ("ticket_id", "customer", "subject", "body")}
            line["reply_by"] = "hand" if row["reply"] else "sentences"
            lines.append({**line, "answer": answer_of(row["intent"], text, reply)})
    return lines


def check(train: list[dict[str, str]], test: list[dict[str, str]]) -> None:
    """Stop when a customer, a message or a reply stands in both parts.

    Args:
        train: Lines of train.
        test: Lines of test.
    """
    for part in (train, test):
        assert len({line["ticket_id"] for line in part}) == len(part)
    assert not {line["customer"] for line in train} & {line["customer"] for line in test}
    assert not {line["body"] for line in train} & {line["body"] for line in test}
    replies = [{json.loads(line["answer"])["reply"] for line in part} for part in (train, test)]
    assert not replies[0] & replies[1], replies[0] & replies[1]


def build() -> dict[str, str]:
    """The text of every file, by name."""
    truth = json.loads((TARGET / "truth.json").read_text(encoding="utf-8"))
    train = answered(train_rows(truth), read_sentences())
    test = answered(read_rows("test.csv"), None)
    check(train, test)
    return {
        f"replies_{name}.jsonl": "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        for name, lines in (("train", train), ("test", test))
    }


def main() -> None:
    """Write the files and print the counts."""
    for name, text in build().items():
        (TARGET / name).write_bytes(text.encode("utf-8"))
        lines = [json.loads(line) for line in text.splitlines()]
        answers = [json.loads(line["answer"]) for line in lines]
        print(name, len(lines), dict(Counter(line["reply_by"] for line in lines)))
        print(" ", dict(Counter(answer["urgency"] for answer in answers)))
        print(" ", dict(sorted(Counter(answer["intent"] for answer in answers).items())))


if __name__ == "__main__":
    main()
