"""Numbers as words: one form for each kind of number, everywhere in the page and the card.

Scores have three decimals, shares are percentages with one, sizes are megabytes. What is unknown
is the word, never a zero. Takes numbers; gives text; rounds but never calculates a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metier.evaluation.results import Estimate, Evaluation

UNKNOWN = "unknown"
MINUS = "\N{MINUS SIGN}"

METRIC_TITLES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "weighted_f1": "Weighted F1",
    "macro_precision": "Macro precision",
    "micro_precision": "Micro precision",
    "weighted_precision": "Weighted precision",
    "macro_recall": "Macro recall",
    "micro_recall": "Micro recall",
    "weighted_recall": "Weighted recall",
    "mcc": "MCC",
}
"""Metrics of labels; those of texts are named by evaluation's own table."""

_WRITTEN = ("json_valid", "field_f1", "chrf", "rougeL", "bleu", "exact_match", "token_f1")
_TERSE = ("json_valid", "field_f1", "chrf", "loss")
PAGE_METRICS: Mapping[str, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1"), "generation": _WRITTEN, "chat": _WRITTEN, "text": ("loss",),
    "multilabel": ("macro_f1", "micro_f1", "exact_match", "invalid"),
    "extraction": ("span_f1", "span_precision", "span_recall", "invalid"),
}  # fmt: skip
"""Task -> what the page's table of systems shows beside the primary metric."""
TERMINAL_METRICS: Mapping[str, tuple[str, ...]] = {**PAGE_METRICS, "generation": _TERSE, "chat": _TERSE}
"""The same for a terminal, which is narrower."""
WHERE_MEASURED = frozenset({"json_valid", "field_f1"})
"""Metrics that are shown only where some system has one: where answers are JSON."""
MOST_METRICS = 6
"""Columns that a table has room for."""


def table_metrics(
    systems: Sequence[Evaluation], primary: str, by_task: Mapping[str, tuple[str, ...]] = PAGE_METRICS
) -> tuple[str, ...]:
    """The metrics of a table of systems, the primary one first, each once.

    Args:
        systems: All of one task.
        primary: The metric that the verdict is about.
        by_task: What else is shown.
    """
    known = {name for system in systems for name, found in system.metrics.items() if found.value is not None}
    others = by_task.get(systems[0].task, ()) if systems else ()
    shown = dict.fromkeys((primary, *(name for name in others if name not in WHERE_MEASURED or name in known)))
    return tuple(shown)[:MOST_METRICS]


def metric_title(name: str) -> str:
    """A metric's name for a person: `macro_f1` is `Macro F1`, `rougeL` is `ROUGE-L`."""
    words = metric_words(name)
    return words if words.split()[0] != words.split()[0].lower() else words[:1].upper() + words[1:]


def metric_words(name: str) -> str:
    """A metric's name inside a sentence: `macro_f1` is `macro F1`, `chrf` is `chrF`."""
    if name in METRIC_TITLES:
        title = METRIC_TITLES[name]
        return title if title.isupper() else title[:1].lower() + title[1:]
    # Numpy comes with the table of text metrics: it is loaded when one is named.
    from metier.evaluation.written.text_metrics import row_of

    row = row_of(name)
    return row.title if row is not None else name.replace("_", " ").lower()


def metric_heading(name: str) -> str:
    """A metric's title that says when lower values are better: `Loss (lower is better)`."""
    return f"{metric_title(name)} (lower is better)" if lower_is_better(name) else metric_title(name)


def lower_is_better(name: str) -> bool:
    """Whether a lower value of a metric is the better one."""
    if name in METRIC_TITLES:
        return False
    from metier.evaluation.written.text_metrics import sign

    return sign(name) < 0


def score(value: float | None) -> str:
    """A score or a loss with three decimals, with a true minus sign."""
    return UNKNOWN if value is None else f"{value:.3f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """A difference with three decimals and its sign; no sign when it rounds to zero."""
    if value is None:
        return UNKNOWN
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", MINUS)


def interval(estimate: Estimate, *, with_sign: bool = False) -> str:
    """`0.912 to 0.958`; a sentence where there is no interval, the reason where there is no value."""
    if estimate.value is None:
        return estimate.reason or "no reason was recorded"
    if estimate.low is None or estimate.high is None:
        return estimate.reason or "no interval"
    form = signed if with_sign else score
    return f"{form(estimate.low)} to {form(estimate.high)}"


def set_words(name: str) -> str:
    """A set's name for a person: `out_of_fold` is `out-of-fold`."""
    return name.replace("_", "-")


def percent(value: float | None) -> str:
    """A share as a percentage: `80 %`, `99.2 %`, `99.97 %`. What is not all or nothing never reads as 100 or 0.

    Args:
        value: Between 0 and 1; None is unknown.
    """
    if value is None:
        return UNKNOWN
    left = min(value, 1 - value)
    decimals = 2 if 0 < left < 0.005 else 1
    text = f"{100 * value:.{decimals}f}"
    if left > 0 and float(text) in (0.0, 100.0):
        return "< 0.01 %" if value < 0.5 else "> 99.99 %"
    return f"{text.rstrip('0').rstrip('.')} %"


def p_value(value: float | None) -> str:
    """A p-value with three decimals; below that it says so."""
    if value is None:
        return UNKNOWN
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(value: int | None) -> str:
    """A whole number with thousands separated: `12,345`."""
    return UNKNOWN if value is None else f"{value:,}"


def about(value: int) -> str:
    """A count that is only known roughly: two leading digits, rounded up: `2,411` is `2,500`."""
    size = max(1, 10 ** (len(str(value)) - 2))
    return f"{-(-value // size) * size:,}"


def counted(value: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 record`, `1,200 records`."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def share(part: int, whole: int) -> str:
    """A part of a whole as a percentage with one decimal; a part that is not zero never reads as zero."""
    if whole <= 0:
        return UNKNOWN
    percent = 100 * part / whole
    return "< 0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %"


def megabytes(value: int | None) -> str:
    """A size in MB (a million bytes) with one decimal."""
    if value is None:
        return UNKNOWN
    return "< 0.1 MB" if 0 < value < 50_000 else f"{value / 1e6:,.1f} MB"


def parameters(value: int | None) -> str:
    """A number of parameters: `134.5 M`, exact below a hundred thousand."""
    if value is None:
        return UNKNOWN
    return f"{value:,}" if value < 100_000 else f"{value / 1e6:,.1f} M"


def duration(seconds: float | None) -> str:
    """A time that a person can compare: `0.42 s`, `38 s`, `4 min 07 s`, `2 h 05 min`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.01:
        return "< 0.01 s"
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def times(value: int) -> str:
    """How often: `once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(value, f"{value:,} times")


def plain(value: object) -> str:
    """Any setting as text: lists joined, booleans as words, nothing as `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(part) for part in value) or "none"
    return str(value)


def printable(text: str) -> str:
    """`text` without control characters, which neither HTML nor SVG may hold; line breaks and tabs stay."""
    return "".join(
        char
        for char in text
        if char in "\n\t" or (ord(char) >= 32 and not 0x7F <= ord(char) <= 0x9F and not 0xD800 <= ord(char) <= 0xDFFF)
    )


def shortened(text: str, limit: int) -> str:
    """`text` on one line, cut to `limit` characters with an ellipsis."""
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
