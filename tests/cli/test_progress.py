"""Progress as plain lines, and as bars."""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import TextColumn

from metier.cli.progress import LineView, TerminalView, watching
from metier.events import Event, Notice, PartEnded, Progress, StageFinished, StageStarted, StepEnded, Table, Validated


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _step(step: int, total: int = 100) -> StepEnded:
    return StepEnded(
        step=step, total=total, epoch=0.1, loss=0.5, learning_rate=1e-4, grad_norm=1.0, tokens=10, seconds=0.1
    )


def _lines(events: list[tuple[float, Event]]) -> list[str]:
    clock, lines = Clock(), list[str]()
    view = LineView(write=lines.append, clock=clock)
    for seconds, event in events:
        clock.now = 100.0 + seconds
        view(event)
    return lines


def test_stages_notices_validations_and_tables_are_lines() -> None:
    assert _lines(
        [
            (0, StageStarted(stage="data", detail="train.csv")),
            (0, Notice(topic="data", message="3 rows had no label.")),
            (0, Table(title="Splits", columns=("Split", "Rows"), rows=(("train", "561"), ("test", "140")))),
            (1, Validated(step=40, metrics={"macro_f1": 0.91}, best=True)),
            (1, PartEnded(part="judging", seconds=0.5)),
            (1, StageFinished(stage="data", seconds=1.0)),
            (1, StageFinished(stage="baselines", seconds=0.0, reused=True)),
        ]
    ) == [
        "data: train.csv",
        "  note (data): 3 rows had no label.",
        "  Splits\n  Split  Rows\n  ─────  ────\n  train  561\n  test   140",
        "  validation after step 40: macro F1 0.910 (best so far)",
        "  data done: 1.00 s",
        "  baselines done: taken from before",
    ]


def test_progress_is_said_at_most_every_ten_seconds_and_with_the_time_left() -> None:
    events = [(second, Progress(label="trunk", done=second, total=100)) for second in range(31)]
    assert _lines(events) == [
        "  trunk: 10 of 100 rows, about 1 min 30 s left",
        "  trunk: 20 of 100 rows, about 1 min 20 s left",
        "  trunk: 30 of 100 rows, about 1 min 10 s left",
    ]


def test_short_steps_say_nothing() -> None:
    assert _lines([(0, Progress(label="a", done=0, total=2)), (9, Progress(label="a", done=2, total=2))]) == []


def test_a_label_that_comes_again_starts_again() -> None:
    first = [(0, Progress(label="a", done=0, total=2)), (50, Progress(label="a", done=2, total=2))]
    again = [(51, Progress(label="a", done=0, total=2)), (52, Progress(label="a", done=1, total=2))]
    assert _lines([*first, *again]) == []


def test_training_steps_have_their_loss() -> None:
    assert _lines([(0, _step(1)), (11, _step(12))]) == ["  training: step 12 of 100, loss 0.500, about 1 min 28 s left"]


def test_bars_move_and_go_away() -> None:
    screen = io.StringIO()
    bars = Bars(TextColumn("{task.fields[text]}"), console=Console(file=screen, width=120))
    view = TerminalView(bars)
    view(StageStarted(stage="data [bold]"))
    view(Progress(label="trunk", done=1, total=4))
    view(_step(3))
    assert [task.description for task in bars.tasks] == ["trunk", "training"]
    assert [task.fields["text"] for task in bars.tasks] == ["1/4 rows", "3/100 steps  loss 0.500"]
    view(Progress(label="trunk", done=4, total=4))
    view(_step(100))
    assert bars.tasks == []
    assert "data [bold]" in screen.getvalue()


def test_without_a_terminal_lines_are_drawn(capsys: object) -> None:
    with watching() as observer:
        assert isinstance(observer, LineView)


def test_no_line_of_ours_has_control_characters() -> None:
    text = _lines([(0, Notice(topic="a", message="plain"))])[0]
    assert re.search(r"[\x00-\x09\x0b-\x1f]", text) is None
