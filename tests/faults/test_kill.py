"""A killed run resumes to the same result, wherever it was killed."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from typing import Any

import pytest

from metier.store.files import read_json_lines
from metier.store.run_folder import read_state

FAST, ALL = 3, 10


def _moments(undisturbed: Any, count: int) -> list[float]:
    """Moments within the duration of an undisturbed run, one in each equal part of it."""
    rng = random.Random(20)
    return [undisturbed.seconds * (number + rng.random()) / count for number in range(count)]


def _hold_to(undisturbed: Any, folder: Any, findings_of: Callable[..., dict[str, str]]) -> None:
    found = findings_of(folder)
    assert [name for name in found if found[name] != undisturbed.findings[name]] == []
    assert read_state(folder).complete
    assert not [path for path in folder.path.rglob("*") if ".tmp-" in path.name]
    assert folder.report_page.is_file() and folder.readme.is_file()
    # The killed opening of the test set was resumed, not counted again.
    assert json.loads(found["comparison"])["openings"] == 1


def _kill_and_resume(new_desk: Any, launch: Any, undisturbed: Any, findings_of: Any, kills: list[float]) -> list[int]:
    desk = new_desk()
    codes = []
    for number, after in enumerate(kills):
        more = ["--resume"] if number else []
        codes.append(launch(desk.arguments(*more), desk.environment, kill=signal.SIGKILL, after=after).code)
    ended = launch(desk.arguments("--resume"), desk.environment)
    assert ended.code == 0, ended.said
    assert "Traceback" not in ended.said and "Warning" not in ended.said
    _hold_to(undisturbed, desk.run, findings_of)
    return codes


@pytest.mark.parametrize("number", range(FAST))
def test_a_run_killed_at_some_moment_resumes_to_the_same_result(
    number: int, new_desk: Any, launch: Any, undisturbed: Any, findings_of: Any
) -> None:
    codes = _kill_and_resume(new_desk, launch, undisturbed, findings_of, [_moments(undisturbed, FAST)[number]])
    assert codes == [-signal.SIGKILL] or number > 0  # on a busy machine the later ones may end before it


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ALL))
def test_a_run_killed_at_ten_moments_resumes_to_the_same_result(
    number: int, new_desk: Any, launch: Any, undisturbed: Any, findings_of: Any
) -> None:
    """Killed twice: at one of ten moments spread over the run, and then at a random moment of the resumed run."""
    again = random.Random(number).uniform(0.0, 0.7) * undisturbed.seconds
    _kill_and_resume(new_desk, launch, undisturbed, findings_of, [_moments(undisturbed, ALL)[number], again])


def _interrupted(new_desk: Any, launch: Any, stop: signal.Signals, text: str) -> tuple[Any, Any]:
    """A run that got `stop` as soon as its events held `text`; on a busy machine the signal can come too late."""
    for _ in range(5):
        desk = new_desk()
        ended = launch(desk.arguments(), desk.environment, kill=stop, file=desk.run.events, text=text)
        if ended.code != 0:
            break
    return desk, ended


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupt_in_training_saves_and_says_how_to_go_on(
    stop: signal.Signals, new_desk: Any, launch: Any, undisturbed: Any, findings_of: Any
) -> None:
    desk, ended = _interrupted(new_desk, launch, stop, '"kind": "step_ended"')
    assert ended.code == 4, ended.said
    assert "training: interrupted after step" in ended.said
    assert "Everything is saved; run the same command with --resume to go on." in ended.said
    assert "Traceback" not in ended.said
    steps = [int(path.name.split("-")[1]) for path in desk.run.attempt(1).checkpoints.glob("checkpoint-*")]
    assert max(steps) >= 1
    again = launch(desk.arguments("--resume"), desk.environment)
    assert again.code == 0, again.said
    assert "Training goes on after step" in again.said
    _hold_to(undisturbed, desk.run, findings_of)


def test_an_interrupt_elsewhere_is_resumed_too(new_desk: Any, launch: Any, undisturbed: Any, findings_of: Any) -> None:
    desk, ended = _interrupted(new_desk, launch, signal.SIGINT, '"stage": "baselines", "kind": "stage_started"')
    assert ended.code == 4, ended.said
    resume = f"metier run {desk.folder / 'recipe.yaml'} --output {desk.run.path} --resume"
    assert f"Nothing that was saved is lost. To continue: {resume}" in " ".join(ended.said.split())
    assert launch(desk.arguments("--resume"), desk.environment).code == 0
    _hold_to(undisturbed, desk.run, findings_of)


def test_without_resume_an_incomplete_run_is_refused(new_desk: Any, launch: Any) -> None:
    desk = new_desk()
    assert launch(desk.arguments("--until", "data"), desk.environment).code == 0
    ended = launch(desk.arguments(), desk.environment)
    assert ended.code == 2
    assert "holds an incomplete run of this recipe. Add --resume to continue it" in ended.said


@pytest.mark.parametrize("torn", [b'{"time": "2026-', b"\x00" * 40, b'{"kind": "\xc3'], ids=["half", "zeros", "byte"])
def test_a_torn_event_log_is_no_obstacle(
    torn: bytes, new_desk: Any, launch: Any, undisturbed: Any, findings_of: Any
) -> None:
    desk = new_desk()
    assert launch(desk.arguments("--until", "data"), desk.environment).code == 0
    whole = len(read_json_lines(desk.run.events))
    with desk.run.events.open("ab") as file:
        file.write(torn)
    assert launch(desk.arguments("--until", "data", "--resume"), desk.environment).code == 0
    rows = read_json_lines(desk.run.events)
    assert len(rows) > whole
    assert all(row["kind"] for row in rows)
