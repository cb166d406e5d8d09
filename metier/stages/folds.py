"""`evaluation.folds`: small data, where every row is a test row once.

Each fold is a small run of its own: baselines are set up, candidates trained and chosen without the fold's rows, and
the promoted one answers them beside every baseline. The answers of all folds are joined as the set `out_of_fold`. The
model that is kept is trained on all rows: the candidate that the run's own validation chose, for as many passes over
the rows as were best there. Nobody has measured that model; the folds measured the way to it, with fewer rows.

Frozen lower blocks do not know folds: all trainings read one trunk cache.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from metier.data.sealing import sealed_fingerprint
from metier.errors import DONE
from metier.evaluation.advice import at_price
from metier.evaluation.answering.set_rules import THRESHOLD
from metier.evaluation.compare import compare
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.files import read_evaluations, write_comparison, write_evaluation
from metier.evaluation.folded import again
from metier.evaluation.gates import judge_gates
from metier.evaluation.looks import write_look
from metier.evaluation.measures import MEASURES
from metier.evaluation.results import Comparison, Evaluation, FoldReport, Item, evaluations_of
from metier.evaluation.seal import open_once, record_opening
from metier.events import Notice, tell
from metier.model.saved import ABOUT
from metier.recipe.dump import dump_recipe, recipe_hash
from metier.recipe.sections import Recipe
from metier.stages.again import read_history, train_again, with_same_layers
from metier.stages.attempt import Attempt
from metier.stages.baselines import baseline_systems
from metier.stages.choose import Chosen, choose_attempt
from metier.stages.fold_data import Dealt, deal_rows, read_fold, refuse_own_test, write_all_rows, write_fold
from metier.stages.looking import Answered, look_closer
from metier.stages.test_set import answer_test_set, promote, shared_trunk
from metier.stages.workshop import Workshop
from metier.store.files import read_json, write_json
from metier.store.run_folder import RunFolder, claim_run_folder, finish_run, read_state
from metier.store.trained_again import OUT_OF_FOLD, all_rows_run, drop_weights, fold_run
from metier.training.sampler import Sampler

CandidateTrainer = Callable[[Workshop, str, int, str], Attempt]
"""From (the ground of a fold, a candidate, its number, the fold in words) to its attempt: read back, or trained."""
TUNED = "tuned"


def refuse_unfoldable(shop: Workshop) -> None:
    """Tell what stands against folds before anything is trained.

    Args:
        shop: The run.

    Raises:
        DataError: The data has a test set of its own, or fewer groups of rows than folds.
    """
    if shop.recipe.evaluation.folds is not None:
        refuse_own_test(shop.data)
        dealt_rows(shop)


def dealt_rows(shop: Workshop) -> Dealt:
    """All rows of the run in their folds; the same in every process and after a kill.

    Args:
        shop: The run.
    """
    recipe = shop.recipe
    assert recipe.evaluation.folds is not None
    threshold = recipe.data.near_threshold
    return deal_rows(shop.data, recipe.evaluation.folds, threshold=threshold, seed=recipe.seed)


def measure_folds(
    shop: Workshop, attempts: Sequence[Attempt], choice: Chosen, train: CandidateTrainer, run_id: str
) -> Comparison:
    """Answer every row out of fold, compare, train on all rows, and write it all down.

    Args:
        shop: The run.
        attempts: Its candidates, trained on its train.
        choice: Which of them its validation chose.
        train: Trains a candidate within a fold, or reads it back.
        run_id: Whom the ledger of openings counts.
    """
    dealt, team = dealt_rows(shop), shop.team
    place = shop.folder.evaluation_of(OUT_OF_FOLD)
    openings = team.once(lambda: _open(shop, run_id))
    for number in range(len(dealt.sizes)):
        _answer_fold(shop, dealt, number, train)
    if not team.once(place.comparison.exists):
        joined = join_folds([_of_fold(shop, number) for number in range(len(dealt.sizes))], dealt, shop)
        if team.is_first:
            for evaluation in joined:
                write_evaluation(evaluation, place.path)
    _keep_model_of_all_rows(shop, dealt, attempts, choice)
    comparison = _compared(shop, dealt, choice, openings)
    team.once(lambda: _write_down(shop, dealt, choice, comparison))
    return comparison


def _open(shop: Workshop, run_id: str) -> int:
    """Count this run among those that looked at these rows; the run's own test split is among them."""
    folder = _claimed(all_rows_run(shop.folder), shop)
    write_all_rows(shop.data, dealt_rows(shop), folder)
    whole = read_fold(shop.data, folder)
    record_opening(sealed_fingerprint(shop.data.card, shop.data.test), run_id)
    path = shop.folder.evaluation_of(OUT_OF_FOLD).opening
    return open_once(sealed_fingerprint(whole.card, whole.train), run_id, path)


def _claimed(folder: RunFolder, shop: Workshop) -> RunFolder:
    identity, text = recipe_hash(shop.recipe), dump_recipe(shop.recipe)
    claim_run_folder(folder.path, recipe_hash=identity, recipe_text=text, resume=True)
    return folder


def _answer_fold(shop: Workshop, dealt: Dealt, number: int, train: CandidateTrainer) -> None:
    """Everything that is done without a fold's rows, then their answers; a fold that was done is left alone."""
    folder, team = fold_run(shop.folder, number + 1), shop.team
    if team.once(lambda: folder.state.exists() and read_state(folder).complete):
        return
    team.once(lambda: _prepared(shop, dealt, number, folder))
    fold = _ground(shop, folder)
    said = f"fold {number + 1} of {len(dealt.sizes)}"
    trained = [train(fold, name, place, said) for place, name in enumerate(fold.candidates, start=1)]
    chosen = choose_attempt(trained, fold.recipe.evaluation, fold.model_size, fold.recipe.seed)
    team.once(lambda: promote(fold, trained, chosen))
    _ask(fold, chosen.attempt, said)
    fold.release_models()
    team.once(lambda: _finished(folder))


def _prepared(shop: Workshop, dealt: Dealt, number: int, folder: RunFolder) -> None:
    share = shop.recipe.data.validation_size
    write_fold(shop.data, dealt, number, _claimed(folder, shop), share=share, seed=shop.recipe.seed)


def _finished(folder: RunFolder) -> None:
    finish_run(folder, DONE)
    drop_weights(folder.path)


def _ground(shop: Workshop, folder: RunFolder) -> Workshop:
    """The same ground over other rows and in another folder; models and stored states are shared."""
    other = shop.over(read_fold(shop.data, folder))
    other.folder = folder
    return other


def _ask(fold: Workshop, chosen: Attempt, said: str) -> None:
    """Let every baseline and the promoted model answer the fold's rows, unless they did."""
    place, team = fold.folder.evaluation_of("test"), fold.team
    done = team.once(lambda: [e.system for e in read_evaluations(place.path)] if place.results.exists() else [])
    records, section = list(fold.data.test.records()), fold.recipe.evaluation
    if set(section.systems) - set(done):
        for system in baseline_systems(fold, shared_trunk(fold, chosen)):
            if system.name not in done:
                found = fold.judged(system, "test", records, section)
                if team.is_first:
                    write_evaluation(found, place.path)
    if TUNED not in done:
        found = answer_test_set(fold, chosen, fold.folder.model)
        if team.is_first:
            write_evaluation(found, place.path)
    values = team.once(lambda: _headline(place.path, section.primary_metric))
    tell(fold.observers, Notice(topic="folds", message=f"{said}: {section.primary_metric} {values} on its rows"))


def _headline(place: Path, metric: str) -> str:
    found = {each.system: each.metrics[metric].value for each in read_evaluations(place, items=False)}
    return ", ".join(f"{value:.3f} ({name})" for name, value in found.items() if value is not None)


def _of_fold(shop: Workshop, number: int) -> list[Evaluation]:
    return read_evaluations(fold_run(shop.folder, number + 1).evaluation_of("test").path)


def join_folds(folds: Sequence[Sequence[Evaluation]], dealt: Dealt, shop: Workshop) -> list[Evaluation]:
    """Each system's answers to all rows, each row's from its fold, in the order of the rows.

    Args:
        folds: The evaluations of each fold, the same systems in each.
        dealt: All rows.
        shop: The run.
    """
    found = []
    for parts in zip(*folds, strict=True):
        items: dict[str, Item] = {
            item.id: replace(item, fold=number) for number, part in enumerate(parts) for item in part.items
        }
        first = parts[0]
        rows = _counted_together([items[record.id] for record in dealt.records], first)
        timed = [(part.seconds_per_thousand, part.n) for part in parts if part.seconds_per_thousand is not None]
        about = About(
            system=first.system, kind=" / ".join(dict.fromkeys(part.kind for part in parts)), task=first.task,
            settings={"folds": [dict(part.settings) for part in parts]}, parameters=first.parameters,
            bytes=first.bytes, trained_on=_said_once([part.trained_on for part in parts]),
            seconds_per_thousand=sum(s * n for s, n in timed) / sum(n for _, n in timed) if timed else None,
        )  # fmt: skip
        joined = evaluate_items(
            rows, about=about, set_name=OUT_OF_FOLD, labels=first.labels,
            resamples=shop.recipe.evaluation.resamples, seed=shop.recipe.seed,
        )  # fmt: skip
        found.append(replace(joined, hashed=first.hashed))
    return found


def _counted_together(items: list[Item], first: Evaluation) -> list[Item]:
    """Items of several folds, counted as one set: what an item adds can depend on the labels of the others."""
    if first.hashed:
        return items
    again = MEASURES[first.task].recount(items)
    return [replace(item, counts={**item.counts, **own}) for item, own in zip(items, again, strict=True)]


def _said_once(said: Sequence[str]) -> str:
    """What the folds' systems saw: once where it is the same, else the least and the most."""
    distinct = sorted(set(said), key=lambda text: (len(text), text))
    return distinct[0] if len(distinct) == 1 else f"{distinct[0]} to {distinct[-1]}, by fold"


def settled(shop: Workshop, chosen: Attempt, rows: int) -> tuple[Recipe, str]:
    """The way to train on all rows, where nothing is held out to choose by, and how it was settled, in words.

    Scoring rule, layers and the longest answer are those that validation chose, and so is a threshold for labels
    (`_keep_threshold`); training ends after as many passes over the rows as were best there. How strongly a head is
    held back is chosen anew, before it learns from all rows.

    Args:
        shop: The run.
        chosen: The attempt that its validation chose.
        rows: How many rows there are.
    """
    folder, recipe = shop.folder.attempt(chosen.number), with_same_layers(shop, chosen)
    history = read_history(folder)
    changed: dict[str, object] = {}
    said = "solved in closed form"
    if history.stopped != "closed form" and history.best_step == 0:
        changed["adaptation"] = recipe.adaptation.model_copy(update={"method": "head", "layers": "all"})
    elif history.stopped != "closed form":
        section = recipe.training
        whole = section.gradient_accumulation_steps * shop.batch_processes
        batched = section.model_copy(update={"gradient_accumulation_steps": whole})
        passes = Sampler.of(batched, history.examples, 0).epoch_at(history.best_step)
        batch = section.per_device_train_batch_size * whole
        steps = max(1, round(passes * rows / batch))
        update = {"max_steps": steps, "eval_steps": steps, "early_stopping_patience": None}
        changed["training"] = section.model_copy(update=update)
        said = f"trained for {steps:,} steps: the {passes:.3g} passes over the rows that were best on validation"
    rule = read_json(folder.model / ABOUT, format="saved_model").get("rule")
    if rule is not None and rule["name"] in recipe.evaluation.scoring_rules:
        changed["evaluation"] = recipe.evaluation.model_copy(update={"scoring_rules": [rule["name"]]})
    longest = chosen.validation.settings.get("max_new_tokens")
    if longest is not None:
        changed["generation"] = recipe.generation.model_copy(update={"max_new_tokens": longest})
    return recipe.model_copy(update=changed), said


def _keep_model_of_all_rows(shop: Workshop, dealt: Dealt, attempts: Sequence[Attempt], choice: Chosen) -> None:
    """Train the chosen candidate on all rows and make that the run's model."""
    folder, chosen, team = all_rows_run(shop.folder), choice.attempt, shop.team
    if team.once(lambda: folder.state.exists() and read_state(folder).complete):
        return
    whole, attempt = _ground(shop, folder), folder.attempt(1)
    recipe, _ = settled(shop, chosen, len(dealt.records))
    read = [shop.weights(recipe.model), whole.data.card.fingerprint]
    train_again(whole, f"{chosen.name} on all rows", recipe, attempt, read)
    more = f"{choice.why}; then trained on all {len(dealt.records):,} rows"

    def keep() -> None:
        # What it says to rows that it learned from is no validation.
        shutil.rmtree(attempt.evaluation, ignore_errors=True)
        _keep_threshold(shop.folder.attempt(chosen.number).model / ABOUT, attempt.model / ABOUT)
        promote(shop, attempts, replace(choice, why=more), model=attempt.model)
        finish_run(folder, DONE)
        drop_weights(folder.path)

    team.once(keep)


def _keep_threshold(chosen: Path, whole: Path) -> None:
    """A threshold for labels is the attempt's: on rows that a model learned from it is too sure of itself to choose.

    Args:
        chosen: What the chosen attempt's model says of itself.
        whole: The same of the model of all rows; changed.
    """
    first, about = (read_json(path, format="saved_model") for path in (chosen, whole))
    if (first.get("rule") or {}).get("name") == THRESHOLD:
        rule = {**about["rule"], **{name: first["rule"][name] for name in ("threshold", "tried")}}
        write_json(whole, {**about, "rule": rule}, format="saved_model")


def _compared(shop: Workshop, dealt: Dealt, choice: Chosen, openings: int) -> Comparison:
    """The looks at the answers to all rows that need no further ones, the comparison, and the gates."""
    section = shop.recipe.evaluation
    *baselines, tuned = read_evaluations(shop.folder.evaluation_of(OUT_OF_FOLD).path)
    answered = Answered(chosen=choice.attempt, candidate=tuned, others=baselines, records=dealt.records)
    looked = look_closer(_without_errors(shop), answered)
    found = compare(tuned, baselines, section=section, openings=openings, seed=shop.recipe.seed)
    found = at_price(found, [*baselines, tuned], shop.recipe.hardware)
    return replace(found, gates=judge_gates(shop.recipe.gates, found, tuned, looked))


def _without_errors(shop: Workshop) -> Workshop:
    """The same ground; errors are not explained by training rows, which were others in every fold."""
    other = shop.over(shop.data)
    section = shop.recipe.evaluation.model_copy(update={"explain_errors": 0})
    other.recipe = other.recipe.model_copy(update={"evaluation": section})
    return other


def _write_down(shop: Workshop, dealt: Dealt, choice: Chosen, comparison: Comparison) -> None:
    """The comparison last: what says that all is done."""
    place = shop.folder.evaluation_of(OUT_OF_FOLD).path
    folds = [fold_run(shop.folder, number + 1) for number in range(len(dealt.sizes))]
    chosen = tuple(str(read_json(fold.chosen, format="chosen")["name"]) for fold in folds)
    report = FoldReport(
        sizes=(), metric=comparison.primary_metric, values={}, chosen=chosen, shipped=choice.attempt.name,
        rows=len(dealt.records), notes=tuple(_notes(shop, dealt, choice, chosen)),
    )  # fmt: skip
    write_look(again(report, evaluations_of(read_evaluations(place))), place)
    validation = replace(choice.attempt.validation, system=TUNED)
    write_evaluation(validation, shop.folder.evaluation_of("validation").path)
    write_comparison(comparison, place)


def _notes(shop: Workshop, dealt: Dealt, choice: Chosen, chosen: Sequence[str]) -> list[str]:
    """What the numbers do and do not say."""
    card, rows = shop.data.card, len(dealt.records)
    _, how = settled(shop, choice.attempt, rows)
    notes = [
        "Within each fold baselines were set up and candidates chosen on a part of the other folds; nothing that "
        "answered a row has seen it, its group, or nearly the same text.",
        f"The model that is kept learned from all {rows:,} rows ({how}). It is not one of those that were measured: "
        "they show what this way gives with fewer rows.",
        "The names of the labels are taken from all rows.",
        "Temperature and promise come from the run's own validation, whose rows are among these. They and the slices "
        "count rows as if they stood alone.",
    ]
    if len(shop.candidates) > 1:
        often = ", ".join(f"{name} {count} times" for name, count in Counter(chosen).most_common())
        notes.append(f"Promoted within the folds: {often}. The run's own validation chose {choice.attempt.name}.")
    if card.splits["validation"].official:
        notes.append("The rows of the validation file were dealt into the folds like all others.")
    gone = sum(card.rejected.values())
    if gone:
        notes.append(
            f"{gone:,} rows left before the folds were dealt, for the reasons that the data page lists; they are in no "
            "fold."
        )
    if max(dealt.sizes) > 1.5 * min(dealt.sizes):
        notes.append(
            f"Folds have {min(dealt.sizes):,} to {max(dealt.sizes):,} rows, as groups and copies of a text stay whole."
        )
    return notes
