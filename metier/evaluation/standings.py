"""How systems that a recipe names stand against each other, as frozen values: `judgement.json` and `judge.json`.

The first holds every system's metric beside a reference, the second what a judge model says of written answers. Loads
neither torch nor scipy nor scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metier.evaluation.results import Difference, Estimate

VOTES: Mapping[str, int] = {"first": 1, "second": -1}
"""What a judge says -> 1 for the first answer, -1 for the second; a tie is 0."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One row of the table of systems that a recipe names."""

    system: str
    kind: str
    value: Estimate
    """The primary metric."""
    difference: Difference | None
    """Against the reference; None of the reference itself."""
    standing: str
    """`better`, `not worse`, `worse`, `no useful difference` or `not known`; `reference` of the reference."""
    seconds: Estimate | None
    """Seconds an answer; None where nobody measured them."""
    price: Estimate | None
    """Price of an answer; None where nobody paid, or nobody knows."""
    unanswered: int
    """Items without an answer: missing, refused, invalid, abstained. They count as wrong."""
    currency: str | None = None
    """What the price is in."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """`judgement.json`: all systems that a recipe names, against one of them, on the same items."""

    reference: str
    metric: str
    n: int
    margin: float | None
    """How much worse is still not worse; None: nothing is called so."""
    standings: tuple[Standing, ...]
    smallest_useful_gain: float
    openings: int | None
    """How often this test set has been opened, this time included; None for other sets."""
    resamples: int
    seed: int
    sentence: str
    set: str = "test"


@dataclass(frozen=True, kw_only=True)
class PairVerdict:
    """What the judge said of one pair, in both orders."""

    id: str
    group: str | None
    ours_first: str | None
    """With our answer in first place: `first`, `second` or `tie`, or None where no choice could be read."""
    theirs_first: str | None
    """With their answer in first place."""
    length_gap: int
    """Characters of our answer minus those of theirs."""

    @property
    def score(self) -> float | None:
        """1 where ours wins in both orders, 0 where theirs does, else a half; None without both judgements."""
        if self.ours_first is None or self.theirs_first is None:
            return None
        votes = (VOTES.get(self.ours_first, 0), -VOTES.get(self.theirs_first, 0))
        return 1.0 if sum(votes) > 0 and min(votes) >= 0 else 0.0 if sum(votes) < 0 and max(votes) <= 0 else 0.5

    @property
    def winner(self) -> str | None:
        """`ours`, `theirs` or `tie`; None without both judgements."""
        return None if self.score is None else {1.0: "ours", 0.0: "theirs"}.get(self.score, "tie")

    @property
    def pull(self) -> float | None:
        """How far the place in front decided, -1 to 1: 1 where the first answer won both times."""
        if self.ours_first is None or self.theirs_first is None:
            return None
        return (VOTES.get(self.ours_first, 0) + VOTES.get(self.theirs_first, 0)) / 2


@dataclass(frozen=True, kw_only=True)
class JudgeAudit:
    """What a judge's verdicts are worth, and what they say."""

    judge: str
    n: int
    """Pairs that were judged in both orders."""
    unread: int
    """Pairs of which a judgement could not be read."""
    consistent: Estimate
    """Share of pairs on which the order does not decide."""
    position_bias: Estimate
    """How much more often the first place wins than the second, -1 to 1; 0.2 is 20 points."""
    win_rate: Estimate
    """Of our answers, a tie counting half, over both orders."""
    win_rate_equal_length: Estimate
    """The same if both answers were equally long."""
    longer_wins: Estimate
    """Share of decided pairs that the longer answer wins."""
    human_n: int
    kappa: Estimate
    """Cohen's kappa between the judge and people."""
    alpha: Estimate
    """Krippendorff's alpha between the judge and people."""
    flags: tuple[str, ...]
    """What is wrong with this judge, as sentences."""
    headline: Estimate | None
    """The number that may be shown; None where it may not."""
    withheld: str | None
    """Why there is no headline."""


@dataclass(frozen=True, kw_only=True)
class JudgedPair:
    """One system's written answers beside another's, as a judge model sees them."""

    ours: str
    theirs: str
    audit: JudgeAudit
    verdicts: tuple[PairVerdict, ...]
    """What the audit is made from. No text."""
    human: Mapping[str, str]
    """What people said of some of the pairs, by the record's id: `ours`, `theirs` or `tie`."""


@dataclass(frozen=True, kw_only=True)
class JudgeReport:
    """`judge.json`: what a judge model behind an endpoint says of written answers, and what that is worth."""

    judge: str
    """The model and the host that serves it."""
    pairs: tuple[JudgedPair, ...]
    resamples: int
    seed: int
    spent: float | None
    """What its answers cost; None where that is not known."""
    currency: str
    sentence: str
