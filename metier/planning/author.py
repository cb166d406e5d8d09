"""One model that writes or reads on, as a plan has it: its tokens, and its passes.

Prompts are read like any other pass; their shared beginning counts once. Answers are written one token a step for many
prompts together, at the pace of that; they are taken to be as long as the training answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metier.planning.cost import Learner, Rows, Work, pass_stage
from metier.planning.count import Tokens, distinct_ids
from metier.planning.outlook import StageEstimate
from metier.planning.taught import Taught

READ, PROMPT, WRITE = Work(kind="read"), Work(kind="prompt"), Work(kind="write")


@dataclass(frozen=True, kw_only=True)
class Author(Learner):
    """One model that writes or reads on, and how a run uses it."""

    taught: Taught
    records: dict[str, int]
    """Records by split."""
    packed: int = 0
    """Bytes of the copy of its weights that writing uses."""

    @property
    def examples(self) -> int:
        """Training examples: records, or windows of passages."""
        return self.taught.examples

    @property
    def rows(self) -> Rows:
        """Records by split."""
        return Rows(**self.records)

    def with_rows(self, rows: Rows) -> Author:
        """The same over so many records of the same length.

        Args:
            rows: How many.
        """
        examples = max(1, round(self.taught.examples * rows.train / max(1, self.records["train"])))
        records = {"train": rows.train, "validation": rows.validation, "test": rows.test}
        return replace(self, records=records, taught=replace(self.taught, examples=examples))

    @property
    def asked_in_training(self) -> int:
        """Validation records that are looked at during training."""
        return min(self.recipe.training.validation_examples, self.records["validation"])

    @property
    def example_tokens(self) -> float:
        """Mean distinct tokens of a training example, its shared beginning left out."""
        sample = [distinct_ids([sequence.ids for sequence in each]) for each in self.taught.sample]
        return max(1.0, sum(sample) / max(1, len(sample)) - self.taught.shared)

    def read(
        self, split: str, count: int, *, longer_start: int = 0, longer_each: int = 0, answers: bool = True
    ) -> Tokens:
        """One pass over some prompts with their right answers below them, or over passages; for their loss.

        Args:
            split: Where the records come from.
            count: How many.
            longer_start: Tokens that examples add to the shared beginning.
            longer_each: Tokens that examples add to each prompt.
            answers: Whether the right answers are read; otherwise only prompts are.
        """
        shared, asked = self.taught.shared, self.taught.asked[split]
        answer = self.taught.answer if answers else 0.0
        predicted = (answer or asked - 1) if answers else 1.0
        own = max(1.0, asked - shared) + longer_each + answer
        length = asked + longer_start + longer_each + answer
        return Tokens(
            computed=shared + longer_start + count * own, logical=count * length, targets=count * predicted,
            length=length,
        )  # fmt: skip

    def write(
        self, stage: str, what: str, split: str, count: int, *, longer: tuple[int, int] = (0, 0), part: str = ""
    ) -> StageEstimate:
        """Answers written to some prompts, then the loss of the right ones.

        Args:
            stage: Part of the run.
            what: The work, in words.
            split: Where the records come from.
            count: How many.
            longer: Tokens that examples add to the shared beginning, and to each prompt.
            part: Part of the run; empty where the stage says it.
        """
        asked = self.read(split, count, longer_start=longer[0], longer_each=longer[1], answers=False)
        right = self.read(split, count, longer_start=longer[0], longer_each=longer[1])
        new = count * self.taught.answer
        written = Tokens(computed=new, logical=new, targets=new, length=asked.length + self.taught.answer / 2)
        parts = ((asked, PROMPT), (right, READ), (written, WRITE))
        return together([pass_stage(self, stage, what, tokens, replace(work, part=part)) for tokens, work in parts])


def together(parts: Sequence[StageEstimate]) -> StageEstimate:
    """Several passes as one row of a plan, called as the first.

    Args:
        parts: At least one.
    """
    return replace(
        parts[0], tokens=sum(each.tokens for each in parts), logical_tokens=sum(each.logical_tokens for each in parts),
        flops=sum(each.flops for each in parts), seconds=sum(each.seconds for each in parts),
    )  # fmt: skip
