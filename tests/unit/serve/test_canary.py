import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.stub.engine import Speed
from benchmarks.stub.server import StubServer
from tasks.config import GeneratorModel, Price
from tasks.errors import CorruptArtifact
from tasks.serve.canary import (
    MOST_FLIPPED,
    PROMPTS,
    TOLERANCE,
    Note,
    changes,
    compare_or_keep,
    model_changed,
    sing,
)
from tasks.serve.client import ModelClient
from tasks.serve.version import model_version

PRICE = Price(input_per_million=1.0, output_per_million=2.0)
VERSION = model_version("stub", GeneratorModel(format="endpoint", context_length=8192, price=PRICE))
FAST = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.0005)


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer(FAST) as running:
        yield running


async def notes(server: StubServer) -> tuple[Note, ...]:
    async with ModelClient(server.url, VERSION, PRICE, cache=None) as door:
        return await sing(door)


async def test_the_same_model_is_the_same(server: StubServer, tmp_path: Path):
    path = tmp_path / "canary" / "model.json"
    assert compare_or_keep(await notes(server), path) == ()
    kept = path.read_bytes()
    assert compare_or_keep(await notes(server), path) == ()
    assert path.read_bytes() == kept
    assert len(json.loads(kept)["notes"]) == len(PROMPTS)


async def test_another_model_under_the_same_name_is_noticed(server: StubServer, tmp_path: Path):
    path = tmp_path / "model.json"
    compare_or_keep(await notes(server), path)
    server.respond = lambda body: "something else entirely"
    lines = compare_or_keep(await notes(server), path)
    assert lines
    error = model_changed(VERSION, lines, path, url="http://one/v1")
    assert "doesn't answer as it did" in error.message
    assert str(path) in error.next_step
    # What was kept stays: the next run is stopped as well.
    assert compare_or_keep(await notes(server), path) == lines


def note(text: str, *logprobs: float, prompt: str = "p") -> Note:
    return Note(prompt, text, tuple(text.split()), logprobs)


def test_rounding_is_no_change():
    old = note("a b c", -0.1, -0.2, -0.3)
    assert changes([old], [replace(old, logprobs=(-0.15, -0.2, -0.3))]) == ()


def test_a_probability_that_moves_further_is_a_change_although_the_text_is_equal():
    old = note("a b c", -0.1, -0.2, -0.3)
    (line,) = changes([old], [replace(old, logprobs=(-0.1, -0.2, -0.3 - 2 * TOLERANCE))])
    assert "log-probability moved by 0.70" in line


def test_a_few_texts_may_flip_where_their_probabilities_stay_and_more_may_not():
    old = [note(f"a b {n}", -0.1, -0.2, -0.3) for n in range(MOST_FLIPPED + 1)]
    flipped = [note(f"a b x{n}", -0.1, -0.2, -0.3) for n in range(MOST_FLIPPED + 1)]
    assert changes(old, [*flipped[:MOST_FLIPPED], *old[MOST_FLIPPED:]]) == ()
    assert len(changes(old, flipped)) == MOST_FLIPPED + 1


def test_without_log_probabilities_texts_decide():
    old = [Note("p", f"text {n}", (), ()) for n in range(4)]
    assert changes(old, old) == ()
    assert len(changes(old, [replace(each, text="other") for each in old])) == 4


def test_damaged_answers_are_refused(tmp_path: Path):
    path = tmp_path / "model.json"
    path.write_text("[]")
    with pytest.raises(CorruptArtifact, match="canary"):
        compare_or_keep([note("a")], path)
