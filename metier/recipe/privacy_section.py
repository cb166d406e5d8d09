"""What happens to personal data, and what a run may write: the section `privacy`.

Two things that go together and are asked for one by one: `policy` says what happens to personal data that is found in
prompts and answers, `level: strict` that no text of a record leaves the run. `privacy: strict` is short for
`privacy: {level: strict}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from metier.recipe.section import Section

PrivacyPolicy = Literal["report", "mask", "surrogate", "drop", "refuse"]
Level = Literal["off", "strict"]
_LEVELS = ("off", "strict")
_OF_DETECTION = ("detector", "kinds", "recognisers", "scope", "key_env")
_OF_STRICT = ("vault", "vault_key_file", "vault_key_env", "allowed_hosts")


class RecogniserSection(Section):
    """One kind of personal data of the user's own, such as record numbers and contract ids."""

    name: str
    """Capitals, digits and `_`, such as `PATIENT_NUMBER`: what masks and counts call it."""
    regex: str
    """A regular expression of Python's `re`; a whole match is the value. Without nested repetitions."""
    context: list[str] = Field(default_factory=list)
    """Words of which one has to stand within 60 characters of a match, in any case. Empty: every match counts."""
    check: Literal["luhn", "mod97", "mod11"] | None = None
    """Check digits that a match has to pass. None: no check."""
    ignore_case: bool = False
    """Whether `regex` is blind to upper and lower case."""


class PrivacySection(Section):
    """What happens to personal data, and what a run may write. `privacy: strict` is short for `{level: strict}`."""

    level: Level = "off"
    """strict: no text of a record in any file of the run but an encrypted vault outside of it, no connections, and
    personal data is looked for with the full detector. off: none of that."""
    policy: PrivacyPolicy | None = None
    """What happens to personal data in prompts and answers. report: it is counted. mask: the name of its kind stands
    in its place. surrogate: another value of the same kind does. drop: the row is rejected; rows of a test file are
    masked. refuse: the run ends. None: it is not looked for (report, where `level` is strict or `by_kind` is given)."""
    by_kind: dict[str, PrivacyPolicy] = Field(default_factory=dict)
    """Other policies for some kinds: `{US_SSN: refuse, PERSON: surrogate}`."""
    detector: Literal["presidio", "patterns"] = "presidio"
    """presidio: names and places too (`metier[pii]`). patterns: what has a form alone; names are not covered."""
    kinds: list[str] | None = None
    """What is looked for (`EMAIL_ADDRESS`, `PERSON`, …). None: email, telephone, card, IBAN, IP address, US social
    security number, person, place; not dates and web addresses."""
    recognisers: list[RecogniserSection] = Field(default_factory=list)
    """Kinds of the user's own, each with `name` and `regex`, and where wanted `context` (words near a match), `check`
    (luhn, mod97 or mod11) and `ignore_case`: `{name: PATIENT_NUMBER, regex: "PN-[0-9]{6}"}`."""
    scope: Literal["record", "set"] = "record"
    """Where the same value has the same surrogate: within a record, or everywhere, which lets rows about one person
    be brought together."""
    key_env: str | None = None
    """Environment variable with the key that surrogates are drawn by, 16 bytes or more; the same key is needed again
    in `predict`. None: there is none, and no surrogates."""
    vault: str | None = None
    """File of the encrypted vault, outside of every run folder. None: one in the state folder, named as the recipe."""
    vault_key_file: str | None = None
    """File with the vault's key, which `metier data vault-key FILE` makes. None: see `vault_key_env`."""
    vault_key_env: str | None = None
    """Environment variable with the vault's key. None: see `vault_key_file`."""
    allowed_hosts: list[str] = Field(default_factory=list)
    """Hosts to which a strict run may connect, each named in the report. Empty: none."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, values: Any) -> Any:
        return {"level": values} if isinstance(values, str) and values in _LEVELS else values

    @property
    def strict(self) -> bool:
        """Whether no text of a record may leave the run."""
        return self.level == "strict"

    @property
    def looked_for(self) -> PrivacyPolicy | None:
        """The policy of kinds that `by_kind` does not name; None: personal data is not looked for."""
        return self.policy or ("report" if self.strict or self.by_kind else None)

    @property
    def policies(self) -> frozenset[str]:
        """All that may be used."""
        return frozenset() if self.looked_for is None else frozenset({self.looked_for, *self.by_kind.values()})

    def unused(self) -> Iterator[tuple[str, str]]:
        """Fields that were given and have no effect, each with what they would need."""
        asked_for = {
            "privacy.policy": _OF_DETECTION if self.looked_for is None else (),
            "privacy.level: strict": () if self.strict else _OF_STRICT,
        }
        for needed, names in asked_for.items():
            for name in names:
                usual = type(self).model_fields[name].get_default(call_default_factory=True)
                if getattr(self, name) != usual:
                    yield name, needed
