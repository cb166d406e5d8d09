"""Write what transformers' own mask says about the chat templates of `tests/model/templates`.

python tools/template_goldens.py           writes golden/<family>.txt
python tools/template_goldens.py --check   ends with 1 when a file is not current

Each file shows every case of `cases.json` as the family's template renders it, what transformers'
`{% generation %}` markers call the assistant's between ⟦ and ⟧, or why the template refuses. The
templates are ours, short, after each family's published format; the tokenizers are tiny, with the
family's special tokens and its way with spaces. A test holds metier's spans against them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "model" / "templates"
OPEN, CLOSE = "⟦", "⟧"
MARKER = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
DATE = "26 Jul 2024"
TEXTS = (
    "where is my order? It left the shop. hello, how can I help? refund, please. Done. Yes. today? Answer in one word.",
    "It is on its way. user assistant system tool write it return find_order number",
)


def families() -> Mapping[str, Any]:
    """Name -> tokens of each family."""
    found: Mapping[str, Any] = json.loads((FOLDER / "families.json").read_text(encoding="utf-8"))
    return found


def cases(family: str | None = None) -> Mapping[str, Any]:
    """Name -> messages and tools of each conversation.

    Args:
        family: Write the arguments of tool calls as this family's template wants them: as values or as JSON text.
    """
    found: Mapping[str, Any] = json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))
    if family is not None and families()[family].get("arguments") == "text":
        for turn in (turn for case in found.values() for turn in case["messages"]):
            for call in turn.get("tool_calls", ()):
                call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    return found


def family_tokenizer(family: str, *, markers: bool) -> Any:
    """A tiny tokenizer with a family's tokens and chat template.

    Args:
        family: A row of `families.json`.
        markers: Whether the template keeps its `{% generation %}` markers; most published ones have none.
    """
    row = families()[family]
    backend = _byte_level() if row["kind"] == "byte" else _spaces_as_letters(before=row["kind"] == "space before")
    swallow = set(row.get("swallow", ()))
    backend.add_special_tokens(
        [AddedToken(word, special=True, normalized=False, rstrip=word in swallow) for word in row["special"]]
    )
    backend.add_tokens([AddedToken(word, normalized=False) for word in row.get("words", ())])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=row["bos"], eos_token=row["eos"])
    template = (FOLDER / f"{family}.jinja").read_text(encoding="utf-8")
    tokenizer.chat_template = template if markers else MARKER.sub("", template)
    return tokenizer


def _trained(backend: Tokenizer, alphabet: list[str]) -> dict[str, Any]:
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + 60, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(TEXTS * 3, trainer)
    model: dict[str, Any] = json.loads(backend.to_str())["model"]
    return model


def _byte_level() -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    _trained(backend, pre_tokenizers.ByteLevel.alphabet())
    return backend


def _spaces_as_letters(*, before: bool) -> Tokenizer:
    """A SentencePiece-like tokenizer: a space is a letter, unknown letters are bytes.

    Args:
        before: Whether every text gets a space before it, as Llama 2's does.
    """
    steps = [normalizers.Prepend("▁")] if before else []
    normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    first = Tokenizer(models.BPE())
    first.normalizer = normalizer
    first.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    learned = _trained(first, [chr(code) for code in range(33, 127)] + ["▁"])
    vocabulary = {**learned["vocab"]}
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    merges = [tuple(pair) for pair in learned["merges"]]
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True))
    backend.normalizer = normalizer
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*parts, *([decoders.Strip(" ", 1, 0)] if before else [])])
    return backend


def marked(tokenizer: Any, case: Mapping[str, Any]) -> str:
    """One rendered conversation with the spans of transformers' mask, or why the template refuses it."""
    about = {"tools": case.get("tools"), "date_string": DATE}
    try:
        text = tokenizer.apply_chat_template(case["messages"], tokenize=False, **about)
        encoded = tokenizer.apply_chat_template(
            case["messages"], return_dict=True, return_assistant_tokens_mask=True,
            tokenizer_kwargs={"return_offsets_mapping": True}, **about,
        )  # fmt: skip
    except (TemplateError, TypeError) as refusal:
        return f"refused: {refusal}"
    pieces, at, inside = [], 0, False
    for (start, _), learned in zip(encoded["offset_mapping"], encoded["assistant_masks"], strict=True):
        if bool(learned) != inside:
            pieces += [text[at:start], OPEN if learned else CLOSE]
            at, inside = start, bool(learned)
    return "".join([*pieces, text[at:], CLOSE if inside else ""])


def render_golden(family: str) -> str:
    """The golden file of one family."""
    tokenizer = family_tokenizer(family, markers=True)
    return "".join(f"=== {name}\n{marked(tokenizer, case)}\n" for name, case in cases(family).items())


def main() -> int:
    """Write or check all files; the exit code."""
    stale = []
    for family in families():
        path = FOLDER / "golden" / f"{family}.txt"
        golden = render_golden(family)
        current = path.read_text(encoding="utf-8") if path.is_file() else ""
        if golden != current and "--check" in sys.argv[1:]:
            stale.append(path.name)
        elif golden != current:
            path.parent.mkdir(exist_ok=True)
            path.write_text(golden, encoding="utf-8", newline="\n")
    if stale:
        sys.stderr.write(f"not current: {', '.join(stale)}; run python tools/template_goldens.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
