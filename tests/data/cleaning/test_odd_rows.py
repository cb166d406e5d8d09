"""Rows as odd as they come: no screen that compares rows ends in an error, and each says the same twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.cleaning.out_of_fold import FoldSettings, out_of_fold_chances
from metier.data.cleaning.outliers import OutlierSettings, screen_outliers
from metier.data.cleaning.payloads import PayloadSettings
from metier.data.cleaning.poison import PoisonSettings, screen_poison
from metier.data.cleaning.rare_labels import screen_rare_labels
from metier.data.cleaning.rows import SPLITS, Row
from metier.data.cleaning.triggers import TriggerSettings
from metier.data.cleaning.wrong_answers import screen_wrong_answers
from metier.data.cleaning.wrong_labels import screen_wrong_labels

TEXT = st.one_of(st.text(max_size=12), st.sampled_from(["", " ", "a b c", "a b c d", "!!!", "\ud800", "日本", "\x00"]))
ROW = st.tuples(
    TEXT,
    st.sampled_from(["x", "y", "z", ""]) | TEXT,
    st.booleans(),
    st.sampled_from(SPLITS),
    st.sampled_from([None, "g", "h"]),
)
POISON = PoisonSettings(
    triggers=TriggerSettings(fewest=2, most=1.0, z=0.0, betrayal=-1.0, chance=1e9),
    payloads=PayloadSettings(fewest=2, most=1.0, alike=0.0, beyond=-1.0, odd=0.0, phrases=1, words=1),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, max_size=25))
def test_odd_rows_are_looked_at(drawn: list[tuple[str, str, bool, str, str | None]]) -> None:
    rows = [
        Row(key=at, split=split, text=text, answer=answer, labelled=labelled, group=group, source="odd.csv", row=at + 1)
        for at, (text, answer, labelled, split, group) in enumerate(drawn)
    ]
    chances = out_of_fold_chances(rows, FoldSettings(folds=2, rarest=1))
    for look in (
        lambda: screen_wrong_labels(chances),
        lambda: screen_rare_labels(rows, chances=chances),
        lambda: screen_outliers(rows, OutlierSettings(fewest=2)),
        lambda: screen_wrong_answers(rows, losses={row.key: 1.0 + row.key for row in rows}),
        lambda: screen_poison(rows, POISON),
    ):
        finding = look()
        assert {doubt.key for doubt in finding.doubts} <= set(range(len(rows)))
        assert all(doubt.score is None or 0 <= doubt.score <= 1 for doubt in finding.doubts)
        assert all(doubt.step == finding.step for doubt in finding.doubts)
        assert finding.doubts == look().doubts
