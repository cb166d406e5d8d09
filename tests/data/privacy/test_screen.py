"""The screen: counts by kind, split and part, doubts with numbers and without texts, and the end of a refused run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from metier.data.cleaning.rows import Row
from metier.data.privacy.patterns import PATTERN_KINDS, PatternDetector
from metier.data.privacy.policies import PolicySettings
from metier.data.privacy.screen import screen_personal_data
from metier.errors import DataError


class Given:
    """Rows that are read anew each time."""

    def __init__(self, *rows: tuple[str, str, str, bool]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        for key, (split, text, answer, labelled) in enumerate(self.rows):
            yield Row(
                key=key,
                split=split,
                text=text,
                answer=answer,
                labelled=labelled,
                group=None,
                source="a.csv",
                row=key + 1,
            )


ROWS = Given(
    ("train", "write to secret@clinic.org or secret2@clinic.org", "done, secret@clinic.org", False),
    ("train", "nothing", "nothing", False),
    ("test", "card 4111 1111 1111 1111", "", False),
    ("test", "a label is no text", "label@clinic.org", True),
    ("unsplit", "from 8.8.8.8", "", False),
)
DETECTOR = PatternDetector(PATTERN_KINDS)


def test_counts_are_right_and_hold_no_value() -> None:
    finding = screen_personal_data(ROWS, PolicySettings(policy="drop"), DETECTOR)
    assert (finding.looked_at, finding.step, finding.version) == (5, "personal data", 1)
    assert finding.counts == {"rows with personal data": 3, "EMAIL_ADDRESS": 3, "CREDIT_CARD": 1, "IP_ADDRESS": 1}
    assert finding.tables["personal data"] == [
        {"kind": "EMAIL_ADDRESS", "split": "train", "part": "prompt", "occurrences": 2, "rows": 1},
        {"kind": "EMAIL_ADDRESS", "split": "train", "part": "answer", "occurrences": 1, "rows": 1},
        {"kind": "CREDIT_CARD", "split": "test", "part": "prompt", "occurrences": 1, "rows": 1},
        {"kind": "IP_ADDRESS", "split": "unsplit", "part": "prompt", "occurrences": 1, "rows": 1},
    ]
    assert [(doubt.key, doubt.detail, doubt.suggestion) for doubt in finding.doubts] == [
        (0, "2 EMAIL_ADDRESS in the prompt; 1 EMAIL_ADDRESS in the answer", "drop"),
        (2, "1 CREDIT_CARD in the prompt", None),
        (4, "1 IP_ADDRESS in the prompt", "drop"),
    ]
    written = json.dumps(asdict(finding))
    assert not any(word in written for word in ("secret", "clinic", "4111", "8.8.8.8"))


@pytest.mark.parametrize(
    ("fields", "suggestions"),
    [
        ({}, [None, None, None]),
        ({"policy": "mask"}, ["mask", "mask", "mask"]),
        ({"policy": "mask", "by_kind": {"CREDIT_CARD": "drop", "IP_ADDRESS": "report"}}, ["mask", None, None]),
        ({"policy": "mask", "by_kind": {"EMAIL_ADDRESS": "drop"}}, ["drop", "mask", "mask"]),
    ],
)
def test_a_doubt_suggests_what_the_policy_does(fields: dict[str, object], suggestions: list[str | None]) -> None:
    finding = screen_personal_data(ROWS, PolicySettings(**fields), DETECTOR)  # type: ignore[arg-type]
    assert [doubt.suggestion for doubt in finding.doubts] == suggestions


def test_a_refused_run_names_rows_and_kinds_and_no_text() -> None:
    with pytest.raises(DataError) as raised:
        screen_personal_data(ROWS, PolicySettings(by_kind={"EMAIL_ADDRESS": "refuse"}), DETECTOR)
    assert str(raised.value) == (
        "privacy.policy: is `refuse`, and 1 row has personal data that it stands for (a.csv row 1; in all rows "
        "1 CREDIT_CARD, 3 EMAIL_ADDRESS, 1 IP_ADDRESS), wanted none. "
        "Take it out of the source, or choose `mask`, `surrogate` or `drop`."
    )


def test_no_rows_are_no_fault() -> None:
    assert screen_personal_data(Given(), PolicySettings(), DETECTOR).counts == {"rows with personal data": 0}
