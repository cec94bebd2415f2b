import io

import pytest
from rich.console import Console

from flows import show
from flows.show import Stages, prefect_progress, terminal_progress


def test_without_a_terminal_each_stage_is_a_line_when_it_begins_and_when_it_ends(capsys):
    with terminal_progress() as progress:
        for done in range(101):
            progress("answer", done, 100)
    captured = capsys.readouterr()
    assert captured.err == "  answer 0/100\n  answer 100/100\n"
    # Standard output is for results.
    assert captured.out == ""


def test_between_two_lines_of_a_stage_some_time_passes(capsys, monkeypatch):
    monkeypatch.setattr(show, "EVERY_S", 0.0)
    with terminal_progress() as progress:
        for done in range(3):
            progress("embed", done, 9)
    assert capsys.readouterr().err.splitlines() == ["  embed 0/9", "  embed 1/9", "  embed 2/9"]


def test_a_stage_of_unknown_length_is_named_without_a_number(capsys):
    with terminal_progress() as progress:
        progress("fetching the model", 0, 0)
    assert capsys.readouterr().err == "  fetching the model\n"


def test_on_a_terminal_each_stage_has_a_bar_that_goes_when_all_is_done(monkeypatch):
    drawn = io.StringIO()
    monkeypatch.setattr(show, "console", Console(file=drawn, force_terminal=True, width=100))
    with terminal_progress() as progress:
        progress("retrieve", 0, 0)
        progress("answer", 1, 4)
        progress("answer", 4, 4)
    assert "answer" in drawn.getvalue()
    assert "4/4" in drawn.getvalue()
    # Transient: the last thing written takes the bars away.
    assert drawn.getvalue().rstrip().endswith("\x1b[2K")


def test_a_block_that_fails_takes_its_bars_along(monkeypatch):
    monkeypatch.setattr(show, "console", Console(file=io.StringIO(), force_terminal=True))

    def fail():
        with terminal_progress() as progress:
            progress("answer", 1, 4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    fail_free = io.StringIO()
    monkeypatch.setattr(show, "console", Console(file=fail_free, force_terminal=True))
    with terminal_progress() as progress:
        progress("answer", 1, 1)
    assert fail_free.getvalue()


def test_where_nothing_of_known_length_was_done_prefect_is_not_asked():
    with prefect_progress("nothing") as progress:
        progress("fetching", 0, 0)


def test_the_artifact_says_what_the_terminal_says_of_all_stages_and_how_long_it_will_take():
    stages = Stages()
    assert stages.summary(now=0.0) is None
    stages.told("fetching the model", 0, 0, now=0.0)
    assert stages.summary(now=0.0) is None
    stages.told("answer", 0, 10, now=0.0)
    stages.told("judge", 0, 4, now=0.0)
    assert stages.summary(now=1.0) == (0.0, "answer 0/10, judge 0/4")
    stages.told("answer", 5, 10, now=10.0)
    stages.told("judge", 2, 4, now=10.0)
    stages.told(
        "calls: 7 made, 2 cached, 1 failed, 0.7/s, 90 tokens/s, 4 in flight", 0, 0, now=10.0
    )
    calls = "calls: 7 made, 2 cached, 1 failed, 0.7/s, 90 tokens/s, 4 in flight"
    said = f"answer 5/10, judge 2/4; {calls}; about 10.0 s left"
    assert stages.summary(now=10.0) == (50.0, said)
    stages.told("answer", 10, 10, now=20.0)
    stages.told("judge", 4, 4, now=20.0)
    summary = stages.summary(now=20.0)
    assert summary is not None
    assert summary[0] == 100.0
    assert "left" not in summary[1]


def test_the_calls_of_two_doors_do_not_hide_each_other():
    stages = Stages()
    stages.told("answer", 1, 2, now=0.0)
    stages.told("calls answers: 3 made", 0, 0, now=1.0)
    stages.told("calls judge: 1 made", 0, 0, now=1.0)
    stages.told("calls answers: 4 made", 0, 0, now=2.0)
    summary = stages.summary(now=2.0)
    assert summary is not None
    assert summary[1] == "answer 1/2; calls answers: 4 made; calls judge: 1 made"


async def test_the_calls_of_a_door_are_told_while_they_are_made(monkeypatch):
    from benchmarks.stub.server import StubServer
    from flows import show
    from tasks.config import GeneratorModel, Price
    from tasks.serve.client import ModelClient
    from tasks.serve.version import model_version

    monkeypatch.setattr(show, "SAY_EVERY_S", 0.01)
    price = Price(currency="EUR", input_per_million=1.0, output_per_million=2.0)
    version = model_version(
        "stub", GeneratorModel(format="endpoint", context_length=512, price=price)
    )
    said: list[str] = []
    with StubServer() as server:
        async with ModelClient(server.url, version, price, cache=None) as door:
            async with show.showing_calls(door, lambda *step: said.append(step[0])):
                await door.chat([{"role": "user", "content": "a"}], purpose="answer")
                line = show.calls_line(door, 2.0)
            told = len(said)
            await door.chat([{"role": "user", "content": "b"}], purpose="answer")
    assert line.startswith("calls: 1 made, 0 cached, 0 failed, 0.5/s, ")
    assert line.endswith("EUR")
    assert said
    assert len(said) == told
