"""`metier export RUN [OUT] --as FORM`: the trained model as a folder that other tools load, proven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metier.cli.output import say, show, write_json_object
from metier.cli.run import AsJson

if TYPE_CHECKING:
    from metier.serving.export import Export


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="A new folder. Default: RUN-<form>, beside the run.", show_default=False),
    ] = None,
    *,
    form: Annotated[
        str, typer.Option("--as", metavar="FORM", help="adapter (PEFT), merged (transformers) or gguf (Ollama).")
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
    does not, nothing is left of it. The proof is in its README.md and parity.json.
    """
    if evidence is not None:
        return _evidence(run, evidence, as_json=as_json, alone=(out, outtype) == (None, None) and not with_base)
    from metier.cli.progress import watching
    from metier.errors import DONE
    from metier.serving.export import export_run
    from metier.store.values import to_plain

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
