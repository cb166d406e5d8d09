"""Four systems of four kinds in one table: a metier run, an adapter by TRL, an endpoint, a spreadsheet of rules.

    metier demo
    python bench/judged_together.py RUN_FOLDER      writes docs/results/judged-together.md

The run's own training records are written as a TRL user would write them; TRL trains an adapter from them in its own
environment (`python -m bench.peers make huggingface`) and never sees metier. A server on this machine speaks the chat
completions API and answers with the intent of the nearest training message (TF-IDF): it stands for a hosted model, and
is no measure of one. The rules are a handful of words an intent, as a shop may have them. `metier compare` then asks
and judges all four on the test records, and `metier verify` recounts the result.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from bench.peers.__main__ import environments_folder, versions
from metier.data.prepare import load_prepared
from metier.data.records import Record
from metier.model.packaged import ensure_packaged
from metier.model.prompt import make_prompt_format
from metier.recipe.sections import PromptSection
from metier.report.judgement_page import claims_table, gather_judgement, standings_table
from metier.report.markdown import markdown_table
from metier.store.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "judged-together.md"
RULES = (
    ("invoice", "invoice_request"), ("vat", "invoice_request"), ("charged twice", "double_charge"),
    ("two payments", "double_charge"), ("declined", "payment_failed"), ("payment", "payment_failed"),
    ("password", "login_problem"), ("log in", "login_problem"), ("pause", "pause_subscription"),
    ("resume", "resume_subscription"), ("restart", "resume_subscription"), ("subscription", "cancel_subscription"),
    ("refund", "refund_status"), ("broken", "damaged_item"), ("damaged", "damaged_item"), ("wrong", "wrong_item"),
    ("return", "return_request"), ("cancel", "cancel_order"), ("address", "change_order"), ("change", "change_order"),
    ("not arrived", "order_not_received"), ("never arrived", "order_not_received"), ("where is", "order_status"),
    ("tracking", "order_status"), ("order", "order_status"),
)  # fmt: skip
"""The first of these words in a message decides; without any of them it asks about a product."""
ELSE = "product_question"
PACKAGED = "smollm2-135m"
INSTRUCTION = "Read the message of a customer and answer with its intent."
HEADER = """\
# Judged together

<!-- Written by bench/judged_together.py. Do not edit: run it again. -->

`metier compare` on the test records of the built-in messages, all answered in this one run:

- **ours**: the model of `metier demo`.
- **theirs**: an adapter that TRL {trl} and PEFT {peft} trained without metier (`SFTTrainer`, {rows} examples, 3 epochs,
  LoRA r 16 on all linear layers of the packaged base, loss {first:.2f} to {last:.2f}; `bench/peers/trl_adapter.py`).
- **hosted**: a server on this machine that speaks the API and answers with the intent of the nearest training message.
  It stands for a hosted model; seconds and numbers say nothing about any.
- **rules**: {rules} words, the first that a message holds decides. A spreadsheet with one answer a record.

Made by `metier demo`, then `python bench/judged_together.py {run}`. `metier verify` of the
comparison: {verified}

"""


def main() -> None:
    """Train, serve, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run of `metier demo`")
    parser.add_argument("--work", type=Path, default=Path("runs/judged-together"), help="where everything is put")
    parser.add_argument("--output", type=Path, default=PAGE)
    asked = parser.parse_args()
    run, work = asked.run.resolve(), asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = load_prepared(RunFolder(run).data)
    base = ensure_packaged(PACKAGED)
    train, test = list(data.train.records()), list(data.test.records())
    trained = train_by_trl(train, data.labels, base, work)
    write_rules(test, work / "rules.csv")
    with served(nearest(train)) as url:
        recipe = write_recipe(run, url, work)
        folder = work / "comparison"
        metier("compare", str(recipe), "--output", str(folder))
    verified = metier("verify", str(folder)).strip().splitlines()[-1]
    summary = gather_judgement(RunFolder(folder))
    tables = [standings_table(summary.judgement), claims_table(summary.judgement)]
    header = HEADER.format(
        **versions("huggingface"), rows=trained["rows"], first=trained["first_loss"], last=trained["last_loss"],
        rules=len(RULES), run=asked.run, verified=verified,
    )  # fmt: skip
    body = "\n\n".join(str(markdown_table(each)) for each in tables if each is not None)
    asked.output.write_text(f"{header}{summary.judgement.sentence}\n\n{body}\n", encoding="utf-8")


def train_by_trl(train: Sequence[Record], labels: Sequence[str], base: Path, work: Path) -> dict[str, Any]:
    """Write the examples and let TRL train on them; what it printed last. Once: a finished adapter is kept."""
    said, adapter = work / "trl.json", work / "theirs"
    if not said.is_file():
        prompt = make_prompt_format(PromptSection(instruction=INSTRUCTION), labels, "intent")
        words = dict(zip(prompt.labels, prompt.label_texts, strict=True))
        lines = [
            {"prompt": prompt.messages(each.text),
             "completion": [{"role": "assistant", "content": words[str(each.gold)]}]}
            for each in train
        ]  # fmt: skip
        examples = work / "examples.jsonl"
        examples.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        python = environments_folder() / "huggingface" / "bin" / "python"
        command = [str(python), str(ROOT / "bench/peers/trl_adapter.py"), str(base), str(examples), str(adapter)]
        bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=bare)
        said.write_text(done.stdout.strip().splitlines()[-1], encoding="utf-8")
    found: dict[str, Any] = json.loads(said.read_text(encoding="utf-8"))
    return found


def write_rules(test: Sequence[Record], path: Path) -> None:
    """What the rules say of every test record."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "answer"))
        for record in test:
            text = record.text.lower()
            rows.writerow((record.id, next((label for word, label in RULES if word in text), ELSE)))


def nearest(train: Sequence[Record]) -> Callable[[str], str]:
    """The intent of the training message that a text is most like."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    known = words.fit_transform([each.text for each in train])

    def answer(text: str) -> str:
        return str(train[int((known @ words.transform([text]).T).toarray().argmax())].gold).replace("_", " ")

    return answer


@contextmanager
def served(answer: Callable[[str], str]) -> Iterator[str]:
    """A server of chat completions on a free port of this machine; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Silence."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = body["messages"][-1]["content"].split("\n\n", 1)[-1]
            said = {"message": {"role": "assistant", "content": answer(text)}, "finish_reason": "stop"}
            usage = {"prompt_tokens": len(text.split()), "completion_tokens": 3}
            data = json.dumps({"model": "nearest-message", "choices": [said], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def write_recipe(run: Path, url: str, work: Path) -> Path:
    """The recipe of the comparison: the run's data, and the four systems."""
    section = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))["data"]
    values = {
        "name": "judged-together", "task": "classification", "training": "none", "prompt": {"instruction": INSTRUCTION},
        "data": section,
        "systems": {
            "rules": {"answers": "rules.csv"},
            "ours": {"run": str(run)},
            "theirs": {"model": PACKAGED, "adapter": "theirs"},
            "hosted": {"endpoint": url, "model": "nearest-message", "price_in": 0.5, "price_out": 1.5},
        },
        "evaluation": {"reference": "rules", "not_worse_margin": 0.02},
    }  # fmt: skip
    path = work / "compare.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def metier(*arguments: str) -> str:
    """Run the command line; what it printed."""
    done = subprocess.run([sys.executable, "-m", "metier", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    return done.stdout


if __name__ == "__main__":
    main()
