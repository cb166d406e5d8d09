"""`metier predict RUN IN OUT`: answers for a file, or for one text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metier.cli.output import say, show, write_json_object
from metier.cli.run import AsJson

if TYPE_CHECKING:
    from metier.evaluation.results import Answer
    from metier.serving.results import Prediction

RUNNERS_UP = 3
PROMISED = "promised"
"""What `--abstain` alone stands for (`overrides.OPTIONAL`)."""


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    source: Annotated[
        Path | None, typer.Argument(metavar="IN", help="A data file with the same text columns.", show_default=False)
    ] = None,
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT", help="Where the answers go (csv, tsv, jsonl or parquet); never overwritten.",
            show_default=False,
        ),
    ] = None,
    *,
    text: Annotated[str | None, typer.Option("--text", help="Answer this one text.", show_default=False)] = None,
    text_column: Annotated[
        str | None,
        typer.Option("--text-column", metavar="NAME", help="Column of the text, if not as in training.",
                     show_default=False),
    ] = None,
    abstain: Annotated[
        str | None,
        typer.Option(
            "--abstain", metavar="[NUMBER]", show_default=False,
            help="Hand to a person what is less sure: than promised on validation, or than NUMBER.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Answer every row of a file, or one text.

    OUT has all rows and columns of IN, in order, and the columns answer, probability and reason. When it
    is interrupted, the same command goes on where it stopped.
    """
    from metier.cli.progress import watching
    from metier.errors import DONE, ArgumentError

    if (text is None) == (source is None) or (source is None) != (target is None):
        raise ArgumentError("metier predict", "what to answer is not clear", "IN and OUT, or --text",
                            "Write: metier predict RUN IN OUT, or: metier predict RUN --text \"…\"")  # fmt: skip
    if text is not None and not text.strip():
        raise ArgumentError("--text", "is empty", "a text to answer")
    from metier.serving.predict import load_run, predict_file, promised_threshold, refuse_output
    from metier.serving.private import as_it_was_made

    own = _number(abstain)
    if target is not None:
        refuse_output(target)  # before the model is loaded
    with watching() as observer, as_it_was_made(run):
        specialist = load_run(run, (observer,))
        threshold = None if abstain is None else promised_threshold(specialist, own)
        if source is not None and target is not None:
            options: Any = {"text_column": text_column, "threshold": threshold}
            done = predict_file(specialist, source, target, **options, observers=(observer,))
        else:
            answer = next(specialist.answer([text or ""]))
    if source is None:
        _show_answer(answer if threshold is None else _unsure(answer, threshold), as_json=as_json)
    else:
        _show_prediction(done, source, as_json=as_json)
    return DONE


def _number(text: str | None) -> float | None:
    """The user's own threshold; None where none was given."""
    from metier.errors import ArgumentError

    if text is None or text == PROMISED:
        return None
    try:
        return float(text)
    except ValueError:
        raise ArgumentError("--abstain", f"found `{text}`", "a probability, or nothing for the promised one") from None


def _unsure(answer: Answer, threshold: float) -> Answer:
    """The answer, or none and why where it is less sure than the threshold."""
    from dataclasses import replace

    from metier.serving.predict import answered_row, handed_over

    row = handed_over(answered_row(answer), threshold)
    return answer if row.answer is not None else replace(answer, label=None, text=None, reason=row.reason)


def _show_prediction(done: Prediction, source: Path, *, as_json: bool) -> None:
    from metier.report import formats
    from metier.store.values import to_plain

    if as_json:
        write_json_object("prediction", {"input": str(source), **to_plain(done)})
        return
    show(f"Answered {done.answered:,} of {formats.counted(done.rows, 'row')}: {done.output}")
    if done.threshold is not None:
        share = f" ({done.to_a_person / done.rows:.0%})" if done.rows else ""
        handed = f"{done.to_a_person:,} of {formats.counted(done.rows, 'row')}{share}"
        say(f"  for a person: {handed} less sure than {done.threshold:.3f}, answer left empty")
    for reason, count in done.unanswered.items():
        if reason != "for a person":
            say(f"  no answer for {formats.counted(count, 'row')}: {reason}")
    if done.cut:
        say(f"  {formats.counted(done.cut, 'text')} too long for the model: answered by a part, reason `cut`")
    if done.unfinished:
        longest = "reached generation.max_new_tokens, reason `unfinished`"
        say(f"  {formats.counted(done.unfinished, 'answer')} {longest}")


def _show_answer(answer: Answer, *, as_json: bool) -> None:
    """The label first, alone on its line of standard output; how sure, and what else it could be, below."""
    import math

    from metier.cli.tables import aligned

    ranked = sorted((answer.label_logprobs or {}).items(), key=lambda pair: -pair[1])
    chances = {label: math.exp(value) for label, value in ranked}
    if as_json:
        write_json_object("answer", {
            "label": answer.label, "probability": chances.get(answer.label or ""), "probabilities": chances or None,
            "text": answer.text, "stop": answer.stop, "reason": answer.reason,
        })  # fmt: skip
        return
    said = answer.label if answer.label is not None else answer.text
    if said is None:
        show(f"(no answer: {answer.reason})")
        return
    show(said, exact=True)
    shown = list(chances.items())[: RUNNERS_UP + 1]
    if shown:
        say("")
        say(aligned(("Probability", "Label"), [(f"{chance:.1%}", label) for label, chance in shown]))
    if answer.reason is not None:
        say(f"\nnote: {answer.reason}")
    if answer.stop == "length":
        say("\nnote: unfinished: the answer reached generation.max_new_tokens")
