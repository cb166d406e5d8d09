"""An Ollama Modelfile: the model's chat template translated from Jinja to Go, proven on conversations.

Nothing is guessed from a model's name. Conversations with marked contents are rendered by the model's
own template; what stands between the marks becomes a Go template; and that one must then give exactly
the same text for other conversations. Families whose turns are written one after the other (ChatML,
Llama 2 and 3, Gemma, Phi-3, Mistral, Zephyr) pass; where one does not, there is no template, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.errors import DataError

Chat = Sequence[Mapping[str, Any]]
Render = Callable[[Chat, bool], str]
"""Messages and whether the next answer begins, to text; raises `DataError` where the template refuses."""

_USER, _ANSWER, _NEXT, _SYSTEM = "QUERYMARKA", "REPLYMARKB", "QUERYMARKC", "SYSTEMMARKD"
PROBES: tuple[Chat, ...] = tuple(
    tuple({"role": role, "content": content} for role, content in turns)
    for turns in (
        [("user", "Hello")],
        [("user", "Zwei Zeilen:\n\nÜberweisung 退款 🙂"), ("assistant", "Ja."), ("user", "a < b && 'c' \"d\" {e}")],
        [("user", "1"), ("assistant", "2\n3"), ("user", "4"), ("assistant", "5"), ("user", "6")],
        [("system", "Be brief."), ("user", "Where is it?")],
        [("system", "Antworte\nkurz."), ("user", "1"), ("assistant", "2\n3"), ("user", "4"), ("assistant", "5"),
         ("user", "6")],
    )
)  # fmt: skip
"""Conversations that a translation must render exactly as the model's own template does."""


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A chat template as Go."""

    template: str
    system: bool
    """Whether the model's template writes a system prompt."""
    probes: int
    """Conversations on which both gave the same text."""


def translate(render: Render, *, begin: str = "", instruction: str | None = None) -> Translation | None:
    """The Go template that says the same as a chat template.

    Args:
        render: The model's own template.
        begin: Text of the beginning-of-text token where the program that runs the file adds it itself.
        instruction: What training put before the first text of the user; the Go template puts it there too.

    Returns:
        None where no template of the known shape gives the same text on every probe.
    """
    pieces = _pieces(render, begin)
    lead = f"{instruction}\n\n" if instruction else ""
    if pieces is None or any(sign in piece for piece in (*pieces.values(), lead) for sign in ("{{", "}}", '"""')):
        return None
    without = {name: piece for name, piece in pieces.items() if not name.endswith("_system")}
    # Some templates put the system prompt where no template of this shape can: then it is left out.
    for tried in (pieces, without) if "before_system" in pieces else (without,):
        template = _go(tried, lead)
        proven = _proven(render, template, begin, lead, system="before_system" in tried)
        if proven:
            return Translation(template=template, system="before_system" in tried, probes=proven)
    return None


def _proven(render: Render, template: str, begin: str, lead: str, *, system: bool) -> int:
    """On how many conversations both give the same text; 0 as soon as one differs."""
    chats = [chat for chat in PROBES if system or chat[0]["role"] != "system"]
    for chat in chats:
        try:
            wanted = render(_instructed(chat, lead), True)
        except DataError:
            return 0
        if render_go(template, chat) != wanted.removeprefix(begin):
            return 0
    return len(chats)


def modelfile(
    gguf: str, translation: Translation | None, *, stops: Sequence[str], parameters: Mapping[str, float],
    system: str | None, comments: Sequence[str],
) -> str:  # fmt: skip
    """The text of a Modelfile.

    Args:
        gguf: Name of the file beside it.
        translation: The chat template; None writes none.
        stops: Texts that end an answer.
        parameters: Ollama's names and values of lengths and of how answers are written.
        system: System prompt of the training; None: none.
        comments: Lines for a person at the top.
    """
    quoted = [stop for stop in stops if stop.strip() and '"' not in stop]
    comments = [*comments, *_left_out(len(stops) - len(quoted), system)]
    lines = [f"# {line}" for line in comments] + [f"FROM ./{gguf}"]
    if translation is not None:
        lines.append(f'TEMPLATE """{translation.template}"""')
    if system and '"""' not in system:
        lines.append(f'SYSTEM """{system}"""')
    lines += [f"PARAMETER {name} {value}" for name, value in parameters.items()]
    lines += [f'PARAMETER stop "{stop}"' for stop in quoted]
    return "\n".join(lines) + "\n"


def _left_out(stops: int, system: str | None) -> list[str]:
    """What a Modelfile cannot hold, for a person."""
    said = []
    if stops:
        said.append(f"LEFT OUT: {stops} of the texts that end an answer; a Modelfile cannot quote them.")
    if system and '"""' in system:
        said.append("LEFT OUT: the system prompt; a Modelfile cannot quote it. See README.md.")
    return said


def _instructed(chat: Chat, lead: str) -> Chat:
    first = next(place for place, turn in enumerate(chat) if turn["role"] == "user")
    said = {"role": "user", "content": f"{lead}{chat[first]['content']}"}
    return [*chat[:first], said, *chat[first + 1 :]]


def _pieces(render: Render, begin: str) -> dict[str, str] | None:
    """What a template writes before, between and after marked contents; None where that is not regular."""
    user, answer, second = ({"role": role, "content": mark} for role, mark in (
        ("user", _USER), ("assistant", _ANSWER), ("user", _NEXT)))  # fmt: skip
    try:
        closed, asked = render([user], False), render([user], True)
        said, whole = render([user, answer], False), render([user, answer, second], True)
    except DataError:
        return None
    first = _around(asked.removeprefix(begin), _USER)
    turns = _around(whole.removeprefix(begin), _USER, _ANSWER, _NEXT)
    ended, replied = _around(closed.removeprefix(begin), _USER), _around(said.removeprefix(begin), _USER, _ANSWER)
    if first is None or turns is None or first[1] != turns[3]:
        return None
    # Where a turn ends and the next one begins is a matter of taste: as the template ends a conversation, if it
    # ends all of them so (Phi-3 closes with a token that stands nowhere else).
    after_user = ended[1] if ended and all(piece.startswith(ended[1]) for piece in (first[1], turns[1])) else ""
    after_answer = replied[2] if replied and turns[2].startswith(replied[2]) else ""
    pieces = {
        "before_first": first[0], "after_user": after_user, "opening": first[1][len(after_user) :],
        "before_answer": turns[1][len(after_user) :], "after_answer": after_answer,
        "before_user": turns[2][len(after_answer) :],
    }  # fmt: skip
    try:
        with_system = render([{"role": "system", "content": _SYSTEM}, user], True).removeprefix(begin)
    except DataError:
        return pieces
    parts = _around(with_system, _SYSTEM, _USER)
    if parts is None or parts[2] != first[1]:
        return pieces
    return {**pieces, "before_system": parts[0], "after_system": parts[1]}


def _around(text: str, *marks: str) -> list[str] | None:
    """The pieces of `text` around marks that each stand in it once, in this order."""
    if any(text.count(mark) != 1 for mark in marks):
        return None
    pieces = []
    for mark in marks:
        piece, found, text = text.partition(mark)
        if not found:
            return None
        pieces.append(piece)
    return [*pieces, text]


def _go(pieces: Mapping[str, str], lead: str) -> str:
    """The Go template of these pieces."""
    start = f"{pieces['before_first']}"
    if "before_system" in pieces:
        system = f"{pieces['before_system']}{{{{ $.System }}}}{pieces['after_system']}"
        start = f"{{{{ if $.System }}}}{system}{{{{ else }}}}{start}{{{{ end }}}}"
    return (
        "{{ $first := true }}{{ range .Messages }}"
        '{{ if eq .Role "user" }}'
        f"{{{{ if $first }}}}{start}{lead}{{{{ else }}}}{pieces['before_user']}{{{{ end }}}}"
        f"{{{{ $first = false }}}}{{{{ .Content }}}}{pieces['after_user']}"
        '{{ else if eq .Role "assistant" }}'
        f"{pieces['before_answer']}{{{{ .Content }}}}{pieces['after_answer']}"
        f"{{{{ end }}}}{{{{ end }}}}{pieces['opening']}"
    )


# --- the part of Go's text/template that `_go` writes, and no more ---

_ACTION = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)


def render_go(template: str, chat: Chat) -> str:
    """What Ollama makes of a conversation by a template of `translate`.

    Only what `translate` writes is understood: texts, `range .Messages`, `if`, `else`, `else if`, `end`,
    a variable that is true or false, `.Role`, `.Content`, `$.System` and `eq`.

    Raises:
        ValueError: The template holds something else.
    """
    parts = _ACTION.split(template)
    nodes = [part if number % 2 == 0 else ("action", part) for number, part in enumerate(parts)]
    tree, rest = _parse(nodes)
    if rest:
        raise ValueError("an `end` too many")
    system = "\n\n".join(str(turn["content"]) for turn in chat if turn["role"] == "system")
    return _run(tree, {"System": system, "Messages": chat}, {}, None)


Node = Any


def _parse(nodes: list[Node]) -> tuple[list[Node], list[Node]]:
    """Nested blocks from a flat list; stops before an `else` or `end` that is not its own."""
    tree: list[Node] = []
    while nodes:
        node = nodes[0]
        if not isinstance(node, tuple):
            tree.append(node)
            nodes = nodes[1:]
            continue
        words = str(node[1])
        if words == "end" or words.startswith("else"):
            return tree, nodes
        if not words.startswith(("if ", "range ")):
            tree.append(node)
            nodes = nodes[1:]
            continue
        block, nodes = _block(words, nodes[1:])
        tree.append(block)
    return tree, nodes


def _block(words: str, nodes: list[Node]) -> tuple[Node, list[Node]]:
    """One `if` or `range` with its branches, and what follows its `end`."""
    inside, nodes = _parse(nodes)
    if not nodes:
        raise ValueError(f"{words!r} has no end")
    closing = str(nodes[0][1])
    if closing == "end":
        return ("block", words, inside, []), nodes[1:]
    if closing == "else":
        otherwise, nodes = _parse(nodes[1:])
        if not nodes or nodes[0][1] != "end":
            raise ValueError(f"{words!r} has no end")
        return ("block", words, inside, otherwise), nodes[1:]
    chained, nodes = _block(closing.removeprefix("else "), nodes[1:])
    return ("block", words, inside, [chained]), nodes


def _run(tree: Sequence[Node], root: Mapping[str, Any], names: dict[str, bool], turn: Mapping[str, Any] | None) -> str:
    out = []
    for node in tree:
        if isinstance(node, str):
            out.append(node)
        elif node[0] == "action":
            out.append(_act(str(node[1]), root, names, turn))
        elif node[1] == "range .Messages":
            out += [_run(node[2], root, names, each) for each in root["Messages"]]
        else:
            branch = node[2] if _holds(str(node[1]).removeprefix("if "), root, names, turn) else node[3]
            out.append(_run(branch, root, names, turn))
    return "".join(out)


def _act(words: str, root: Mapping[str, Any], names: dict[str, bool], turn: Mapping[str, Any] | None) -> str:
    assigned = re.fullmatch(r"(\$\w+) :?= (true|false)", words)
    if assigned:
        names[assigned[1]] = assigned[2] == "true"
        return ""
    if words == ".Content" and turn is not None:
        return str(turn["content"])
    if words == "$.System":
        return str(root["System"])
    raise ValueError(f"{words!r} is not understood")


def _holds(words: str, root: Mapping[str, Any], names: Mapping[str, bool], turn: Mapping[str, Any] | None) -> bool:
    role = re.fullmatch(r'eq \.Role "(\w+)"', words)
    if role and turn is not None:
        return bool(turn["role"] == role[1])
    if words == "$.System":
        return bool(root["System"])
    if words in names:
        return names[words]
    raise ValueError(f"{words!r} is not understood")
