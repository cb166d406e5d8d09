"""What a base model is told when the recipe gives no instruction: a sentence made from the answer's column.

A base model that is not told what to do is no baseline. Conversations and instructions in the data say it
themselves.
"""

from __future__ import annotations

import re

from metier.data.card import DataCard
from metier.recipe.sections import PromptSection

PLAIN_ANSWERS = frozenset(
    {"answer", "answers", "response", "output", "output_text", "completion", "reply", "target", "gold", "text",
     "content", "value"}
)  # fmt: skip
"""Names of answer columns that say nothing about what to write."""


def with_instruction(section: PromptSection, card: DataCard) -> PromptSection:
    """The prompt section, with an instruction where the recipe has none and the answer's column has a telling name.

    Args:
        section: What the recipe says.
        card: Which column is the answer.
    """
    column = re.sub(r"\[-?\d+\]", "", card.answer_column or "").rpartition(".")[2]
    if section.instruction is not None or card.shape != "columns" or not column or column.lower() in PLAIN_ANSWERS:
        return section
    words = " ".join(column.replace("_", " ").replace("-", " ").split())
    return section.model_copy(update={"instruction": f"Read the text and write its {words}."})
