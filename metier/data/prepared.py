"""What leaves the data room: three splits, the rules that made their texts, and the card."""

from __future__ import annotations

from dataclasses import dataclass

from metier.data.card import DataCard
from metier.data.input_rules import InputRules
from metier.data.splits import Split


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Clean splits of records, as they lie in a run's data folder."""

    card: DataCard
    train: Split
    validation: Split
    test: Split
    rules: InputRules
    raw: Split | None = None
    """Train as it was read, where the recipe says `data.ablation`."""
    copies: Split | None = None
    """Counterfactual copies of train records, where the recipe says `data.bias.augment` and there are any."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels of train, sorted; a system answers one of these."""
        return self.card.labels
