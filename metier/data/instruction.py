"""What a base model is told when the recipe gives no instruction: a sentence made from the answer's column.

A base model that is not told what to do is no baseline. Conversations and instructions in the data say it
themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from metier.data.card import DataCard
from metier.recipe.sections import PromptSection

PLAIN_ANSWERS = frozenset(
    {"answer", "answers", "response", "output", "output_text", "completion", "reply", "target", "gold", "text",
     "content", "value"}
)  # fmt: skip
"""Names of answer columns that say nothing about what to write."""
LIST_INSTRUCTIONS: Mapping[str, str] = {
    "multilabel": (
        'Which of these labels fit the text? Write all that fit as a JSON list, such as ["first", "second"], or [] if '
        "none fits.\nLabels: "
    ),
    "extraction": (
        'Find every piece of the text that is of one of these kinds. Write a JSON list of ["piece", "kind"] in the '
        "order of the text, each piece exactly as it stands there, or [] if there is none.\nKinds: "
    ),
}
"""Task -> what is asked before the labels are named."""


def with_instruction(section: PromptSection, card: DataCard) -> PromptSection:
    """The prompt section, with an instruction where the recipe has none and the answer's column has a telling name.

    Args:
        section: What the recipe says.
        card: Which column is the answer.
    """
    if section.instruction is None and card.task in LIST_INSTRUCTIONS:
        named = ", ".join(card.labels)
        return section.model_copy(update={"instruction": f"{LIST_INSTRUCTIONS[card.task]}{named}"})
    column = re.sub(r"\[-?\d+\]", "", card.answer_column or "").rpartition(".")[2]
    if section.instruction is not None or card.shape != "columns" or not column or column.lower() in PLAIN_ANSWERS:
        return section
    words = " ".join(column.replace("_", " ").replace("-", " ").split())
    return section.model_copy(update={"instruction": f"Read the text and write its {words}."})
