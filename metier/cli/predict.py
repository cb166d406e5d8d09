"""`metier predict RUN IN OUT`: answers for a file, or for one text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.output import say, show, write_json_object
from metier.cli.run import AsJson


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    source: Annotated[
        Path | None, typer.Argument(metavar="IN", help="A data file with the same text columns.", show_default=False)
    ] = None,
    target: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Where the answers go; never overwritten.", show_default=False)
    ] = None,
    *,
    text: Annotated[str | None, typer.Option("--text", help="Answer this one text.", show_default=False)] = None,
    as_json: AsJson = False,
) -> int:
    """Answer every row of a file, or one text."""
    from metier.errors import DONE, ArgumentError
    from metier.store.run_folder import find_run

    if (text is None) == (source is None) or (source is None) != (target is None):
        raise ArgumentError("metier predict", "what to answer is not clear", "IN and OUT, or --text",
                            "Write: metier predict RUN IN OUT, or: metier predict RUN --text \"…\"")  # fmt: skip
    if target is not None and target.exists():
        raise ArgumentError(str(target), "exists already, and metier never overwrites answers", "",
                            "Choose another name.")  # fmt: skip
    folder = find_run(run)
    if text is not None:
        return _answer_one(folder.path, text, as_json=as_json)
    assert source is not None and target is not None  # said above
    from metier.cli.progress import watching
    from metier.serving.predict import predict_file

    with watching() as observer:
        predict_file(folder.path, source, target, observers=(observer,))
    if as_json:
        write_json_object("prediction", {"input": str(source), "output": str(target)})
    else:
        say(f"answers are in {target}")
    return DONE


def _answer_one(run: Path, text: str, *, as_json: bool) -> int:
    import math

    from metier.errors import DONE
    from metier.serving.predict import load_run

    answer = next(iter(load_run(run).answer([text])))
    logprobs = answer.label_logprobs or {}
    chances = {label: math.exp(value) for label, value in sorted(logprobs.items(), key=lambda pair: -pair[1])}
    if as_json:
        content = {"label": answer.label, "probabilities": chances or None, "reason": answer.reason}
        write_json_object("answer", content)
        return DONE
    show(answer.label if answer.label is not None else f"(no answer: {answer.reason})")
    for label, chance in list(chances.items())[:3]:
        say(f"  {chance:6.1%}  {label}")
    return DONE
