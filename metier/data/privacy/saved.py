"""What is done to personal data in every input of a model: saved beside it, in `input.json`, without the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metier.data.privacy.own import OwnRecogniser


@dataclass(frozen=True, kw_only=True)
class InputProtection:
    """As the model's test rows were treated, so are the inputs of `predict`, `chat` and whatever else asks it."""

    policy: str
    """`report`, `mask` or `surrogate`: what happens to kinds that `by_kind` does not name."""
    by_kind: Mapping[str, str] = field(default_factory=dict)
    detector: str = "presidio"
    detector_version: int = 0
    """Of the detector's rules in training."""
    kinds: tuple[str, ...] = ()
    recognisers: tuple[OwnRecogniser, ...] = ()
    scope: str = "record"
    key_env: str | None = None
    """Environment variable with the key of surrogates."""
    key_id: str | None = None
    """By which another key is noticed; the key cannot be told from it."""

    @property
    def sentence(self) -> str:
        """What whoever asks the model without metier has to do."""
        policies = {self.policy, *self.by_kind.values()}
        how = {"mask": "the name of its kind", "surrogate": "another value of its kind"}
        instead = " or ".join(said for policy, said in how.items() if policy in policies)
        kinds = ", ".join((*self.kinds, *(each.name for each in self.recognisers)))
        return (
            f"personal data was hidden in what the model learned from and was tested on ({kinds}; {instead} stood in "
            "its place): hide it in what you ask; `metier predict` does that by itself"
        )
