import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from flows.commands.console import print_json, reported, table, without_heartbeats
from tasks.errors import BadInput, Terminal, Transient


@pytest.mark.parametrize(("kind", "code"), [(BadInput, 2), (Terminal, 1), (Transient, 1)])
def test_an_error_of_ours_is_a_message_a_next_step_and_an_exit_code(capsys, kind, code):
    with pytest.raises(typer.Exit) as caught, reported():
        raise kind("There is no [red]file[/red] 'a'.", next_step="Make [it].")
    assert caught.value.exit_code == code
    shown = capsys.readouterr()
    # What the message holds is text and no markup.
    assert shown.err == "Error: There is no [red]file[/red] 'a'.\nNext: Make [it].\n"
    assert shown.out == ""


def test_an_error_without_a_next_step_is_one_line(capsys):
    with pytest.raises(typer.Exit), reported():
        raise Terminal("It broke.")
    assert capsys.readouterr().err == "Error: It broke.\n"


def test_a_mistake_of_our_own_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), reported():
        raise ZeroDivisionError


def test_an_interrupt_says_that_the_same_command_continues(capsys):
    with pytest.raises(typer.Exit) as caught, reported():
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert "the same command continues" in capsys.readouterr().err


def test_json_is_one_document_in_which_paths_are_texts(capsys):
    @dataclass
    class Row:
        name: str
        page: Path

    print_json(Row("ü", Path("a/b")))
    assert json.loads(capsys.readouterr().out) == {"name": "ü", "page": "a/b"}


def test_a_column_that_says_so_is_aligned_right():
    made = table("measure", ">mean")
    assert [(column.header, column.justify) for column in made.columns] == [
        ("measure", "left"),
        ("mean", "right"),
    ]


@pytest.mark.integration
def test_a_flow_gives_no_sign_of_life_where_its_server_ends_with_it():
    from prefect.settings import get_current_settings

    with without_heartbeats():
        assert get_current_settings().flows.heartbeat_frequency is None
    assert get_current_settings().flows.heartbeat_frequency is not None
