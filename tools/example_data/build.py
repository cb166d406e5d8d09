"""Build the example data of metier from the hand-written messages.

The sources lie in ``messages/*.txt``.  A line ``## intent`` opens a section.
A message starts with ``@`` and its channel letter (``e`` e-mail, ``c`` chat,
``w`` web form; a capital letter puts it into the test part), optionally
``#key`` (customer key) or ``&label`` (train only: the same text a second time
under another label), then the subject.  ``~`` opens a second, slightly edited
sending of the message before.  ``=>`` opens the reply as ``name| text``, with
the language behind the arrow when it is not English.  Personal data is marked
as ``[[kind:string]]``.

Run ``python build.py`` to write the files to ``metier/data/example``; the same
sources give the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

SEED = 17
HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "metier" / "data" / "example"
COLUMNS = ["ticket_id", "received", "channel", "customer", "subject", "body", "intent", "reply"]
CHANNELS = {"e": "email", "c": "chat", "w": "web form"}
RARE = "resume_subscription"
ALIAS, ALIAS_OF = "stop_subscription", "cancel_subscription"
N_EXACT, N_WRONG, N_ALIAS, N_EMPTY = 12, 26, 25, 6
HEADER = re.compile(r"^@([ecwECW])(?:#(\w+))?(?:&(\w+))?(?: (.*))?$")
MARK = re.compile(r"\[\[(\w+):([^\]]+)\]\]")
GREETING = {"en": "Hello", "de": "Guten Tag", "fr": "Bonjour"}
CLOSING = {"en": "Warm regards,", "de": "Herzliche Grüße", "fr": "Bien cordialement,"}
NEIGHBOURS = {
    "order_status": ["order_not_received", "change_order", "refund_status"],
    "order_not_received": ["order_status", "wrong_item"],
    "cancel_order": ["cancel_subscription", "change_order", "return_request"],
    "change_order": ["cancel_order", "order_status"],
    "return_request": ["refund_status", "damaged_item", "cancel_order"],
    "refund_status": ["return_request", "double_charge", "order_status"],
    "damaged_item": ["wrong_item", "return_request"],
    "wrong_item": ["damaged_item", "change_order"],
    "double_charge": ["payment_failed", "refund_status"],
    "invoice_request": ["double_charge", "refund_status"],
    "payment_failed": ["double_charge", "login_problem"],
    "pause_subscription": ["cancel_subscription", "change_order"],
    "cancel_subscription": ["pause_subscription", "cancel_order"],
    "login_problem": ["payment_failed", "product_question"],
    "product_question": ["return_request", "order_status"],
}


@dataclass
class Row:
    """One ticket while it is being built; ``key`` names it until it has its id."""

    key: int
    test: bool
    channel: str
    subject: str
    body: str
    intent: str
    reply: str = ""
    customer: str = ""
    received: datetime = datetime(2026, 1, 1)
    ticket_id: str = ""
    near_of: int | None = None
    copy_of: int | None = None
    conflict: str = ""
    personal: list[tuple[str, str]] = field(default_factory=list)
    raw: str = ""
    reason: str = ""
    kind: str = ""


def full_reply(lang: str, name: str, text: str) -> str:
    """Put the greeting and the closing of policies.md around a written reply."""
    text = text.strip()
    if lang != "de":
        text = text[0].upper() + text[1:]
    greeting = f"{GREETING[lang]} {name}".strip()
    return f"{greeting},\n\n{text}\n\n{CLOSING[lang]}\nLarkmoor Roasters"


def strip_marks(row: Row) -> None:
    """Take the marks off subject and body and keep what they marked."""
    row.personal = [(m[1], m[2]) for part in (row.subject, row.body) for m in MARK.finditer(part)]
    row.subject = MARK.sub(r"\2", row.subject)
    row.body = MARK.sub(r"\2", row.body)


def parse_file(path: Path, start: int) -> list[Row]:
    """Read one source file; ``start`` is the key of its first message."""
    rows: list[Row] = []
    intent = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        head = HEADER.match(line)
        if line.startswith("## "):
            intent = line[3:].strip()
        elif head:
            letter, key, conflict, subject = head.groups()
            rows.append(
                Row(
                    key=start + len(rows),
                    test=letter.isupper(),
                    channel=CHANNELS[letter.lower()],
                    subject=(subject or "").strip(),
                    body="",
                    intent=intent,
                    customer=key or "",
                    conflict=conflict or "",
                )
            )
        elif line.startswith("~"):
            first = rows[-1]
            rows.append(
                replace(
                    first,
                    key=start + len(rows),
                    subject=line[1:].strip(),
                    body="",
                    reply="",
                    near_of=first.key,
                )
            )
        elif line.startswith("=>"):
            arrow, text = line.split("|", 1)
            lang, _, name = arrow[2:].partition(" ")
            rows[-1].reply = full_reply(lang or "en", name.strip(), text)
        else:
            rows[-1].body += line + "\n"
    for row in rows:
        row.body = row.body.strip()
        strip_marks(row)
    return rows


def read_messages() -> list[Row]:
    """Read all source files in the order of their names."""
    rows: list[Row] = []
    for path in sorted((HERE / "messages").glob("[0-9]*.txt")):
        rows += parse_file(path, len(rows))
    return rows


def give_customers(rows: list[Row], rng: random.Random) -> None:
    """Give every first sending a customer; some short chats share one, parts never do."""
    numbers = iter(rng.sample(range(1000, 9999), 2 * len(rows)))
    named: dict[str, str] = {}
    pool: dict[bool, list[str]] = {True: [], False: []}
    for row in rng.sample(rows, len(rows)):
        if row.near_of is not None:
            continue
        shared = row.channel == "chat" and not row.personal and not row.reply.startswith("Guten")
        if row.customer:
            row.customer = named.setdefault(row.customer, f"C-{next(numbers)}")
        elif shared and pool[row.test] and rng.random() < 0.3:
            row.customer = rng.choice(pool[row.test])
        else:
            row.customer = f"C-{next(numbers)}"
            if shared:
                pool[row.test].append(row.customer)


def give_times(rows: list[Row], rng: random.Random) -> None:
    """Spread train over January to May 2026 and test over June to mid-July."""
    for row in rows:
        start, days = (datetime(2026, 6, 1), 44) if row.test else (datetime(2026, 1, 5), 145)
        hour = int(min(23, max(6, rng.gauss(14, 4))))
        row.received = start + timedelta(days=rng.randrange(days), hours=hour, seconds=rng.randrange(3600))


def link_near(rows: list[Row], rng: random.Random) -> None:
    """Near duplicates come from the same customer, hours or days later."""
    by_key = {row.key: row for row in rows}
    for row in rows:
        if row.near_of is not None:
            first = by_key[row.near_of]
            row.customer = first.customer
            row.received = first.received + timedelta(minutes=rng.randrange(90, 4000))


def add_copies(rows: list[Row], plain: list[Row], rng: random.Random) -> list[Row]:
    """Make the exact duplicates and the contradictions; ``plain`` has no other flaw."""
    extra: list[Row] = []
    for first in plain[:N_EXACT]:
        later = first.received + timedelta(minutes=rng.randrange(2, 300))
        extra.append(replace(first, key=-1, received=later, copy_of=first.key))
    for first in [row for row in rows if row.conflict]:
        later = first.received + timedelta(days=rng.randrange(1, 9), minutes=rng.randrange(300))
        extra.append(replace(first, key=-1, intent=first.conflict, reply="", received=later, kind="conflict"))
        extra[-1].copy_of, extra[-1].conflict = first.key, ""
    return extra


def add_empty(rng: random.Random) -> list[Row]:
    """Make the rows without subject and body."""
    picked = rng.sample(sorted(NEIGHBOURS), N_EMPTY)
    rows = [Row(-1, False, rng.choice(["email", "web form"]), "", "", intent, kind="empty") for intent in picked]
    give_times(rows, rng)
    for number, row in enumerate(rows):
        row.customer = f"C-{100 + number}"
    return rows


def add_broken(rng: random.Random) -> list[Row]:
    """Read the broken lines; their ids are filled in when the file is written."""
    rows = []
    text = (HERE / "messages" / "broken_rows.txt").read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines()):
        kind, raw, reason = line.split("|")
        row = Row(-1, False, "", "", "", "", kind=kind, raw=raw, reason=reason)
        row.customer = f"C-{200 + number}"
        rows.append(row)
    give_times(rows, rng)
    return rows


def give_ids(rows: list[Row], rng: random.Random) -> None:
    """Sort by time and count the ticket ids up with small gaps."""
    rows.sort(key=lambda row: (row.received, row.body))
    number = 10000
    for row in rows:
        number += rng.randint(1, 4)
        row.ticket_id = f"LM-{number}"


def csv_line(row: Row) -> str:
    """Return the text of one row, for a broken row its broken line."""
    if row.raw:
        received = row.received.isoformat()
        return row.raw.format(id=row.ticket_id, received=received, customer=row.customer) + "\r\n"
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(
        [
            row.ticket_id,
            row.received.isoformat(),
            row.channel,
            row.customer,
            row.subject,
            row.body,
            row.intent,
            row.reply,
        ]
    )
    return out.getvalue()


def write_csv(path: Path, rows: list[Row]) -> list[dict[str, object]]:
    """Write a part and return where its broken lines stand."""
    text = ",".join(COLUMNS) + "\r\n"
    broken: list[dict[str, object]] = []
    for row in rows:
        if row.raw:
            broken.append(
                {
                    "line": text.count("\n") + 1,
                    "ticket_id": row.ticket_id,
                    "kind": row.kind,
                    "fields": len(next(csv.reader([csv_line(row)]))),
                    "reason": row.reason,
                    "text": csv_line(row).rstrip("\r\n"),
                }
            )
        text += csv_line(row)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8"))
    return broken


def plant_labels(plain: list[Row], rng: random.Random) -> dict[str, list[Row]]:
    """Plant wrong labels and the second name of an intent; return the rows by flaw."""
    rows = plain[N_EXACT:]
    alias = [row for row in rows if row.intent == ALIAS_OF][:N_ALIAS]
    taken = {row.key for row in alias}
    left = [row for row in rows if row.key not in taken and row.intent != RARE]
    wrong: list[Row] = []
    per_intent: Counter[str] = Counter()
    for row in left:
        if len(wrong) < N_WRONG and per_intent[row.intent] < 2:
            per_intent[row.intent] += 1
            wrong.append(row)
    for row in wrong:
        row.kind, row.conflict = "wrong", row.intent
        row.intent = rng.choice(NEIGHBOURS[row.intent])
    for row in alias:
        row.intent = ALIAS
    return {"alias": alias, "wrong": wrong}


def pairs(rows: list[Row], train: list[Row]) -> list[dict[str, object]]:
    """List duplicates as first and second ticket."""
    by_key = {row.key: row for row in train if row.key >= 0}
    found: list[dict[str, object]] = []
    for row in rows:
        key = row.copy_of if row.copy_of is not None else row.near_of
        assert key is not None
        found.append({"first": by_key[key].ticket_id, "second": row.ticket_id})
    return found


def make_truth(train: list[Row], flaws: dict[str, list[Row]], broken: list[dict[str, object]]) -> dict[str, object]:
    """Describe every planted flaw by ticket id."""
    by_key = {row.key: row for row in train if row.key >= 0}
    exact = [row for row in train if row.copy_of is not None and row.kind != "conflict"]
    near = [row for row in train if row.near_of is not None]
    clash = [row for row in train if row.kind == "conflict"]
    return {
        "seed": SEED,
        "intents": sorted([*NEIGHBOURS, RARE]),
        "exact_duplicates": pairs(exact, train),
        "near_duplicates": pairs(near, train),
        "wrong_labels": [
            {"ticket_id": row.ticket_id, "label": row.intent, "true_intent": row.conflict}
            for row in train
            if row.kind == "wrong"
        ],
        "personal_data": [
            {
                "ticket_id": row.ticket_id,
                "items": [{"type": kind, "text": text} for kind, text in row.personal],
            }
            for row in train
            if row.personal
        ],
        "empty_rows": [row.ticket_id for row in train if row.kind == "empty"],
        "broken_rows": broken,
        "rare_intent": {
            "intent": RARE,
            "ticket_ids": [row.ticket_id for row in train if row.intent == RARE],
        },
        "second_name": {
            "label": ALIAS,
            "true_intent": ALIAS_OF,
            "ticket_ids": sorted(row.ticket_id for row in flaws["alias"]),
        },
        "contradictions": [
            {
                "tickets": [by_key[row.copy_of or 0].ticket_id, row.ticket_id],
                "labels": [by_key[row.copy_of or 0].intent, row.intent],
                "true_intent": by_key[row.copy_of or 0].intent,
            }
            for row in clash
        ],
    }


def check(train: list[Row], test: list[Row]) -> None:
    """Stop when a text or a customer stands in both parts, or a text twice unplanned."""

    def texts(rows: list[Row]) -> list[str]:
        return [re.sub(r"\W+", " ", f"{r.subject} {r.body}".lower()).strip() for r in rows]

    proper = [row for row in train if row.copy_of is None and not row.raw and row.kind != "empty"]
    for part in (proper, test):
        twice = [text for text, n in Counter(texts(part)).items() if n > 1]
        assert not twice, twice
    shared = set(texts(proper)) & set(texts(test))
    assert not shared, shared
    assert not {row.customer for row in train} & {row.customer for row in test}
    assert not [row for row in test if row.personal or row.conflict or row.near_of is not None]


def report(train: list[Row], test: list[Row], truth: dict[str, object]) -> None:
    """Print the counts."""
    for name, rows in (("train", train), ("test", test)):
        replies = sum(bool(row.reply) for row in rows)
        people = Counter(row.customer for row in rows)
        print(f"{name}: {len(rows)} rows, {replies} replies, {len(people)} customers,", end=" ")
        print(f"{sum(n > 1 for n in people.values())} of them more than once")
        for intent, count in sorted(Counter(r.intent for r in rows if r.intent).items()):
            print(f"  {intent:22}{count:4}")
    for kind, found in truth.items():
        if isinstance(found, list):
            print(f"{kind}: {len(found)}")


def main() -> None:
    """Build all files."""
    rng = random.Random(SEED)
    rows = read_messages()
    give_customers(rows, rng)
    give_times(rows, rng)
    link_near(rows, rng)
    test = [row for row in rows if row.test]
    train = [row for row in rows if not row.test]
    twins = {row.near_of for row in train}
    plain = [
        row
        for row in train
        if row.near_of is None
        and row.key not in twins
        and not (row.conflict or row.personal or row.intent == RARE)
        and len(row.body) > 30
    ]
    rng.shuffle(plain)
    extra = add_copies(train, plain, rng)
    flaws = plant_labels(plain, rng)
    train += extra + add_empty(rng) + add_broken(rng)
    everything = train + test
    give_ids(everything, rng)
    train = [row for row in everything if not row.test]
    test = [row for row in everything if row.test]
    check(train, test)
    TARGET.mkdir(parents=True, exist_ok=True)
    truth = make_truth(train, flaws, write_csv(TARGET / "train.csv", train))
    write_csv(TARGET / "test.csv", test)
    text = json.dumps(truth, indent=2, ensure_ascii=False)
    (TARGET / "truth.json").write_text(text + "\n", encoding="utf-8")
    report(train, test, truth)


if __name__ == "__main__":
    main()
