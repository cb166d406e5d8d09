"""`metier data report`, `review export`, `review apply`, `restore`: the record of a run's data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metier.cli.output import say, show, write_json_object
from metier.cli.run import AsJson
from metier.cli.vault import stored_rows, vault_key

app = typer.Typer(help="Show, review and give back the data of a run.", rich_markup_mode=None)
review = typer.Typer(help="Doubtful rows out to a person, decisions back in.", rich_markup_mode=None)
app.add_typer(review, name="review")
app.command("vault-key")(vault_key)

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]


@app.command("report")
def data_report(run: Run, *, as_json: AsJson = False) -> int:
    """Write the page of the data, the same as JSON, and Croissant.

    They say what was found in the data, what was done, and what a person should decide.
    """
    from metier.data.record.croissant import write_croissant
    from metier.data.record.read import read_about, read_data_record, read_recipe
    from metier.errors import DONE
    from metier.report.data_page import write_data_report
    from metier.store.run_folder import DataFolder, find_run
    from metier.store.values import to_plain

    folder = find_run(run)
    record = read_data_record(folder)
    words = read_recipe(folder)
    croissant = DataFolder(folder.data).croissant
    if not words.strict or folder.split("train").is_file():  # else its splits are gone, and it stays as it was
        about = read_about(folder, words)
        write_croissant(folder.data, record.card, record.licences, about, steps=record.steps, stages=record.stages)
    page, values = write_data_report(record, folder.report)
    if as_json:
        write_json_object("data_report", to_plain(record))
        return DONE
    for entry in record.to_decide:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in entry.reasons.items())
        say(f"To decide: {entry.what}{f' ({reasons})' if reasons else ''}")
    if any(entry.reasons for entry in record.to_decide):
        say(f"Keep, drop, relabel or edit each doubt in a sheet: metier data review export {run} review.xlsx")
    show(f"Report:    {page}\nJSON:      {values}\nCroissant: {croissant}")
    return DONE


@review.command("export")
def review_export(
    run: Run,
    sheet: Annotated[Path, typer.Argument(metavar="SHEET", help="A new .xlsx or .csv file.", show_default=False)],
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="REASON", help="Only doubts of this reason or step; repeatable.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write the doubtful rows as a spreadsheet.

    One row a doubt: the text, what it says, what is suspected and why, and an empty column for the decision.
    """
    from metier.data.record.read import read_recipe
    from metier.data.record.review import export_review
    from metier.errors import DONE
    from metier.report import formats
    from metier.store.run_folder import find_run
    from metier.store.values import to_plain

    folder = find_run(run)
    words = read_recipe(folder)
    done = export_review(folder.data, sheet, texts=not words.strict, reasons=only or (), label_names=words.label_names)
    if as_json:
        write_json_object("review", to_plain(done))
        return DONE
    show(f"{formats.counted(done.doubts, 'doubt')} about {formats.counted(done.rows, 'row')}: {done.path}")
    if done.without_text:
        say(f"  {formats.counted(done.without_text, 'doubt')} without text: it is not stored, or may not be shown")
    if done.cut:
        say(f"  {formats.counted(done.cut, 'text')} longer than a cell, cut there")
    say(f"Fill in the column `decision`, then: metier data review apply {run} {sheet} decisions.jsonl")
    return DONE


@review.command("apply")
def review_apply(
    run: Run,
    sheet: Annotated[Path, typer.Argument(metavar="SHEET", help="The sheet with its decisions.", show_default=False)],
    decisions: Annotated[
        Path, typer.Argument(metavar="DECISIONS", help="The file that gets them (jsonl); added to.", show_default=False)
    ],
    *,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who decided, if not who runs this.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Take the decisions of a sheet over, all or none.

    They go into a file that the next run honours, where the recipe names it as data.decisions.
    """
    import getpass
    from datetime import UTC, datetime

    from metier.data.record.read import read_recipe
    from metier.data.record.review import apply_review
    from metier.errors import DONE, ArgumentError
    from metier.report import formats
    from metier.store.run_folder import find_run
    from metier.store.values import to_plain

    folder = find_run(run)
    try:
        who = by or getpass.getuser()
    except (OSError, KeyError, ImportError) as error:  # what it raises where nobody is logged in, by version and system
        raise ArgumentError("--by", "who decides is not known", "a name", "Add --by NAME.") from error
    done = apply_review(
        folder.data, sheet, decisions, by=who, at=datetime.now(UTC).isoformat(timespec="seconds"),
        label_names=read_recipe(folder).label_names,
    )  # fmt: skip
    if as_json:
        write_json_object("review", to_plain(done))
        return DONE
    counts = ", ".join(f"{count:,} {kind}" for kind, count in done.decisions.items()) or "nothing new"
    show(f"Taken over: {counts}. Decisions: {done.path}")
    if done.undecided:
        say(f"  {formats.counted(done.undecided, 'line')} without a decision")
    if done.already:
        say(f"  {formats.counted(done.already, 'decision')} of this sheet taken over before")
    say(f"The next run honours them with data.decisions: {done.path}")
    return DONE


@app.command("restore")
def restore(
    run: Run,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A new folder; with --rows a new file (jsonl).", show_default=False)
    ],
    *,
    rows: Annotated[bool, typer.Option("--rows", help="Only the rejected and changed rows.")] = False,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Where the files are now, if they were moved.",
                     show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Give the input of a run back, byte for byte.

    With --rows only its rejected and changed rows, each as it stood in its file. Of a run under privacy: strict they
    are read from its vault, too, where the key is that the recipe names.
    """
    from metier.data.record.read import read_recipe
    from metier.data.record.restore import restore_files, restore_rows
    from metier.errors import DONE
    from metier.report import formats
    from metier.store.run_folder import find_run
    from metier.store.values import to_plain

    folder = find_run(run)
    said = read_recipe(folder).data
    if not rows:
        files = restore_files(folder.data, out, source_folder=source)
        if as_json:
            write_json_object("restored", {"files": to_plain(files)})
        else:
            show(f"{formats.counted(len(files), 'file')} restored, each with the hash that it had: {out}")
        for name in ("answers", "validation_answers", "test_answers"):
            if said.get(name) and Path(said[name]).name not in {file.path.name for file in files}:
                say(f"  not restored: data.{name}: the run did not record its hash")
        return DONE
    sheet, records = (str(said[name]) if said.get(name) else None for name in ("sheet", "records"))
    done = restore_rows(
        folder.data, out, source_folder=source, sheet=sheet, records=records, stored=stored_rows(folder)
    )
    if as_json:
        write_json_object("restored", to_plain(done))
        return DONE
    show(
        f"{formats.counted(done.rejected, 'rejected row')} and {formats.counted(done.changed, 'changed row')}, "
        f"{done.checked:,} of them equal to their file: {done.path}"
    )
    for lost in done.missing:
        say(f"  not restored: {lost}")
    return DONE
