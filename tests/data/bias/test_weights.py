"""What training records weigh: against flagged associations of labels, and against nothing else."""

from __future__ import annotations

from metier.data.bias.weights import record_weights
from metier.data.cleaning.rows import Finding
from metier.data.records import Choice, Passage, Record
from metier.recipe.sections import BiasSection

SECTION = BiasSection(reweight=True)


def planted() -> list[Record]:
    """70 of 100 mothers, and 30 of 100 fathers, are refused."""
    said = [("mother", "refused")] * 70 + [("mother", "granted")] * 30
    said += [("father", "refused")] * 30 + [("father", "granted")] * 70
    said += [("neighbourhood", "refused")] * 10
    return [
        Choice(id=f"{number}-0", text=f"my {who} asks for a loan of {number}", label=label)
        for number, (who, label) in enumerate(said)
    ]


def flagged(dimension: str, kind: str = "label") -> list[Finding]:
    rows = [{"dimension": dimension, "kind": kind, "flagged": True}]
    return [Finding(step="bias", version=1, looked_at=200, tables={"associations": rows})]


def test_weights_even_out_what_was_flagged() -> None:
    records = planted()
    weights = record_weights(records, SECTION, flagged("gender"))
    assert weights is not None and len(weights) == len(records)
    shares = {}
    for who in ("mother", "father"):
        mine = [(float(w), r.gold) for w, r in zip(weights, records, strict=True) if f"my {who} " in r.text]
        shares[who] = sum(w for w, label in mine if label == "refused") / sum(w for w, _ in mine)
    assert abs(shares["mother"] - shares["father"]) < 1e-3
    assert abs(float(weights.mean()) - 1) < 1e-3


def test_nothing_flagged_means_no_weights() -> None:
    assert record_weights(planted(), SECTION, []) is None
    assert record_weights(planted(), SECTION, flagged("gender", kind="tone")) is None
    assert record_weights(planted(), SECTION, flagged("region")) is None  # a column of the user's


def test_only_labels_can_be_weighed() -> None:
    assert record_weights([Passage(id="p-0", text="my mother")], SECTION, flagged("gender")) is None
