"""A cache of one's own, and the families of chat templates."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder that no other test sees; nothing of the user's settings for downloads remains."""
    for name in ("METIER_WHEELS", "METIER_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def goldens(repository: Path) -> ModuleType:
    """`tools/template_goldens.py`: the families, their tokenizers and what transformers says of them."""
    place = repository / "tools" / "template_goldens.py"
    spec = importlib.util.spec_from_file_location("template_goldens", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def family(goldens: ModuleType) -> Callable[..., Any]:
    """`family(name, markers=False)`: the tokenizer of a family of chat models; do not change it."""
    made: dict[tuple[str, bool], Any] = {}

    def make(name: str, *, markers: bool = False) -> Any:
        if (name, markers) not in made:
            made[name, markers] = goldens.family_tokenizer(name, markers=markers)
        return made[name, markers]

    return make


@pytest.fixture(scope="session")
def chat_encoder(family: Callable[..., Any]) -> Callable[..., Any]:
    """`chat_encoder(family, max_length=4000, too_long="cut_end")`: how that family's conversations are encoded."""
    from metier.model.chat_encode import ChatEncoder
    from metier.model.encode import Encoder

    made: dict[tuple[str, int, str], Any] = {}

    def make(name: str, max_length: int = 4000, too_long: str = "cut_end") -> Any:
        key = (name, max_length, too_long)
        if key not in made:
            made[key] = ChatEncoder(Encoder(family(name), max_length, too_long))
        return made[key]

    return make


@pytest.fixture(scope="session")
def talk() -> Callable[..., Any]:
    """`talk("system: …", "user: …", "assistant: …", tools=…)`: a conversation; turns may be OpenAI messages too."""
    from metier.data.records import Conversation, Message

    def message(turn: Any) -> Any:
        if isinstance(turn, str):
            role, _, content = turn.partition(": ")
            return Message(role=role, content=content)
        more = {name: value for name, value in turn.items() if name not in ("role", "content", "weight")}
        learned = turn.get("weight", 1) != 0
        text = json.dumps(more) if more else ""
        return Message(role=turn["role"], content=turn["content"], learned=learned, more=text)

    def make(*turns: Any, tools: Any = None) -> Any:
        offered = json.dumps(tools) if tools else None
        return Conversation(id="x-0", text="x", messages=tuple(map(message, turns)), tools=offered)

    return make


@pytest.fixture(scope="session")
def without_template(tiny_model: Callable[..., Any]) -> Callable[..., Any]:
    """`without_template(max_length=400)`: a model that has none."""
    from transformers import AutoTokenizer

    from metier.model.chat_encode import ChatEncoder
    from metier.model.encode import Encoder

    tokenizer = AutoTokenizer.from_pretrained(tiny_model("gpt2"))
    return lambda max_length=400, too_long="cut_end": ChatEncoder(Encoder(tokenizer, max_length, too_long))
