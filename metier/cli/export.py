"""`metier export RUN [OUT] --as FORM`: the trained model as a folder that other tools load, proven; or its items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metier.cli.output import say, show, write_json_object
from metier.cli.run import AsJson

if TYPE_CHECKING:
    from metier.serving.export import Export, HarnessExport


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="A new folder. Default: RUN-<form>, beside the run.", show_default=False),
    ] = None,
    *,
    form: Annotated[
        str,
        typer.Option(
            "--as", metavar="FORM",
            help="adapter (PEFT), merged (transformers), gguf (Ollama); or lm-eval: the test items as its task.",
        ),
    ] = "merged",
    outtype: Annotated[
        str | None,
        typer.Option(
            "--outtype", metavar="TYPE", show_default=False,
            help="Weights as f32, f16 or bf16; gguf also q8_0. Default: as the base model; gguf f16.",
        ),
    ] = None,
    with_base: Annotated[
        bool, typer.Option("--with-base", help="Put the base model beside the adapter.")
    ] = False,
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence", metavar="FILE.zip", show_default=False,
            help="Not the model, but what proves it, as one file that `metier verify` checks.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Make the trained model a folder that other tools load.

    The folder is loaded in a fresh process without metier and must answer as the trained model does; where it
    does not, nothing is left of it. The proof is in its README.md and parity.json. `--as lm-eval` writes no model, but
    the items that the run was judged on, as a task of lm-evaluation-harness.
    """
    if evidence is not None:
        return _evidence(run, evidence, as_json=as_json, alone=(out, outtype) == (None, None) and not with_base)
    from metier.cli.progress import watching
    from metier.errors import DONE
    from metier.serving.export import ITEMS, export_run
    from metier.store.values import to_plain

    if form == ITEMS:
        return _items(run, out, as_json=as_json, alone=outtype is None and not with_base)
    with watching() as observer:
        done = export_run(run, out, form=form, outtype=outtype, with_base=with_base, observers=(observer,))
    if as_json:
        write_json_object("export", to_plain(done))
    else:
        _show(done)
    return DONE


def _evidence(run: Path, out: Path, *, as_json: bool, alone: bool) -> int:
    """Write the evidence of a run, and say what is in it."""
    from metier.errors import DONE, ArgumentError
    from metier.report import formats
    from metier.serving.bundle import export_evidence
    from metier.store.values import to_plain

    if not alone:
        found = "was given with what is about a model"
        raise ArgumentError("--evidence", found, "", "Export the model with a command of its own.")
    done = export_evidence(run, out)
    if as_json:
        write_json_object("evidence", to_plain(done))
        return DONE
    for name in done.left_out:
        say(f"left out: {name}")
    texts = "hashes stand for written answers" if done.hashed else "items as the run holds them"
    size = f"{formats.counted(len(done.files), 'file')}, {formats.megabytes(done.bytes)}; {texts}"
    show(f"The evidence is in {done.path} ({size}).")
    show(f"SHA-256: {done.sha256}")
    show(f"Check it: metier verify {done.path}")
    return DONE


def _items(run: Path, out: Path | None, *, as_json: bool, alone: bool) -> int:
    """Write the items of a run as tasks of lm-evaluation-harness, and say how it is asked for them."""
    from metier.errors import DONE, ArgumentError
    from metier.serving.export import export_items
    from metier.store.values import to_plain

    if not alone:
        found = "holds items and no weights"
        raise ArgumentError("--as lm-eval", found, "neither --outtype nor --with-base", "Leave them out.")
    done = export_items(run, out)
    if as_json:
        write_json_object("lm_eval_task", to_plain(done))
    else:
        _show_items(done)
    return DONE


def _show_items(done: HarnessExport) -> None:
    from metier.report import formats

    show(f"{formats.counted(done.items, f'{done.set} item')} in {done.path}, for lm-evaluation-harness:")
    for task in done.tasks:
        how = "for models with the same chat template" if task.chat else "in plain text, for any model"
        show(f"  {task.name}  {how}")
    if done.cut:
        cut = formats.counted(done.cut, "prompt")
        say(f"The run cut {cut} to training.max_length; here they are whole.")
    whom = "a model, here the run's own after `metier export RUN MODEL`" if done.own else "any language model"
    say(
        f"\nAsk {whom}:\n"
        f"  lm-eval run --model hf --model_args pretrained=MODEL,dtype=float32 --tasks {done.tasks[-1].name} "
        f"--include_path {done.path} --log_samples --output_path ANSWERS\n"
        "and name what it answered as a system of a recipe for `metier compare`:\n"
        "  theirs: {lm_eval: ANSWERS/…/samples_….jsonl}"
    )


def _show(done: Export) -> None:
    from metier.cli.tables import aligned
    from metier.report import formats
    from metier.serving.export import PARITY_COLUMNS, parity_rows

    source = (
        "of the validation split" if done.parity.from_validation else "(plain texts: there was no validation split)"
    )
    say(f"\n{done.parity.prompts} prompts {source}, through the trained model and through the export:\n")
    say(aligned(PARITY_COLUMNS, parity_rows(done.parity)))
    say("")
    show(f"Exported {formats.megabytes(done.bytes)}: {done.path}")
