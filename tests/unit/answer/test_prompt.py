from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.answer.prompt import ANSWER_VARIABLES, PromptMessage, PromptVersion, load_prompt
from tasks.errors import ConfigError
from tasks.evaluate.measures.rubric import RUBRIC_VARIABLES

PROMPTS = Path(__file__).resolve().parents[3] / "configs" / "prompts"
NAMES = frozenset({"question", "passages"})


def prompt(*contents: str, name: str = "p") -> PromptVersion:
    messages = tuple(PromptMessage(role="user", content=content) for content in contents)
    return PromptVersion(name=name, messages=messages)


def refuse(tmp_path: Path, text: str) -> str:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_prompt(path, variables=NAMES)
    assert caught.value.next_step
    return caught.value.message


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_prompt_uses_exactly_its_variables(path):
    variables = RUBRIC_VARIABLES if path.stem.startswith("judge") else ANSWER_VARIABLES
    assert load_prompt(path, variables=variables).name == path.stem


def test_variables_are_filled_in_wherever_they_are_and_however_they_are_spaced():
    found = prompt("{{question}}, {{ question }} and {{\n  passages }}").render(
        question="why", passages="because"
    )
    assert found == [{"role": "user", "content": "why, why and because"}]


@given(st.text(), st.text())
def test_a_value_stays_as_it_is_whatever_it_holds(question, passages):
    [message] = prompt("{{ passages }}|{{ question }}").render(question=question, passages=passages)
    assert message["content"] == f"{passages}|{question}"


def test_a_value_with_braces_or_backslashes_is_not_filled_in_again():
    [message] = prompt("{{ a }} {{ b }}").render(a=r"{{ b }} \1 \g<0>", b="{% if %}")
    assert message["content"] == r"{{ b }} \1 \g<0> {% if %}"


def test_a_value_too_few_is_an_error():
    with pytest.raises(KeyError, match="passages"):
        prompt("{{ passages }}").render(question="why")


def test_the_digest_is_of_the_content_and_not_of_the_name():
    assert prompt("a", name="x").digest == prompt("a", name="y").digest
    assert prompt("a").digest != prompt("b").digest
    assert prompt("a", "b").digest != prompt("b", "a").digest
    system = PromptVersion(name="p", messages=(PromptMessage(role="system", content="a"),))
    assert system.digest != prompt("a").digest


def test_a_wrong_variable_is_named_with_its_line_and_those_that_are_right(tmp_path):
    said = refuse(
        tmp_path,
        "messages:\n- role: system\n  content: Be {{ mood }}.\n"
        "- role: user\n  content: '{{ question }}'\n",
    )
    assert "unknown {{ mood }} in line 3, missing {{ passages }}" in said
    assert "expected exactly {{ passages }}, {{ question }}." in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("messages: []\n", "at least 1 item"),
        ("messages:\n- role: tool\n  content: x\n", "p.yaml:2: messages.0.role"),
        ("messages:\n- role: user\n  content: ''\n", "p.yaml:3: messages.0.content"),
        ("description: x\n", "messages: Field required"),
        ("messages:\n- role: user\n  content: x\ntemperature: 0\n", "p.yaml:4: temperature"),
    ],
)
def test_a_malformed_prompt_is_refused_with_its_line(tmp_path, text, said):
    assert said in refuse(tmp_path, text)


def test_a_prompt_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no file '.*gone\.yaml'"):
        load_prompt(tmp_path / "gone.yaml", variables=NAMES)
