"""A judge's preference between two answers, asked in both orders."""

import json
import re
from dataclasses import replace

import pytest

from tasks.evaluate.log import EvalLog
from tasks.evaluate.pairwise import (
    AnsweredPair,
    Preference,
    Preferences,
    judged_pairs,
    prefer,
    preferences_digest,
)
from tests.cases import case, result, unanswerable
from tests.evaluations import make_log, make_release
from tests.servers import OpenAIServer, Status
from tests.unit.evaluate.measures.test_ragas import client, context_of

JUDGE = make_release().model


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


def pair(old: str | None, new: str | None, case_id: str = "c1") -> AnsweredPair:
    asked = case(case_id)
    return AnsweredPair(result(old, of=asked), result(new, of=asked))


def shown(body) -> dict[str, str]:
    """The answers of a request by their place."""
    prompt = body["messages"][0]["content"]
    return dict(re.findall(r"^Answer ([12]): (.*)$", prompt, flags=re.MULTILINE))


def likes(wanted: str):
    """A fair judge: it prefers one answer wherever it stands."""

    def respond(body):
        places = [place for place, text in shown(body).items() if wanted in text]
        return json.dumps({"better": places[0] if len(places) == 1 else "tie"})

    return respond


async def ask(respond, *pairs: AnsweredPair, faults=()):
    with OpenAIServer(respond) as server:
        server.faults.extend(faults)
        async with client(server) as door:
            rows = await prefer(pairs, context_of(door), progress=silent)
    return rows, server.requests


@pytest.mark.parametrize(
    ("wanted", "winner"), [("old", "champion"), ("new", "challenger"), ("other", "tie")]
)
async def test_an_answer_that_is_preferred_in_both_places_wins(wanted, winner):
    [row], requests = await ask(likes(wanted), pair("the old", "the new"))
    assert row.winner == row.champion_first == row.challenger_first == winner
    assert sorted(shown(body)["1"] for body in requests) == ["the new", "the old"]


@pytest.mark.parametrize(("place", "favoured"), [("1", "first"), ("2", "second")])
async def test_a_judge_that_prefers_a_place_has_a_tie(place, favoured):
    rows, _ = await ask(lambda _: json.dumps({"better": place}), pair("old", "new"))
    assert [row.winner for row in rows] == ["tie"]
    assert Preferences(digest="0" * 64, rows=rows).places() == {favoured: 1}


async def test_equal_answers_are_a_tie_and_nobody_is_asked():
    [row], requests = await ask(likes("old"), pair("the same", "the same"))
    assert row.winner == "tie"
    assert requests == []


async def test_a_case_that_one_side_never_answered_has_no_verdict():
    for given in (pair(None, "new"), pair("old", None)):
        [row], requests = await ask(likes("old"), given)
        assert (row.winner, row.error_type, row.message) == (
            None,
            "CallFailed",
            "no answer within 1 s",
        )
        assert requests == []


async def test_what_cannot_be_read_and_what_was_lost_is_told_apart():
    [row], _ = await ask(lambda _: '{"better": "both"}', pair("old", "new"))
    assert (row.winner, row.error_type, row.raw) == (
        None,
        "UnreadableJudgement",
        '{"better": "both"}',
    )
    assert not Preferences(digest="0" * 64, rows=(row,)).lost_calls
    [row], _ = await ask(likes("old"), pair("old", "new"), faults=[Status(400)] * 2)
    assert row.winner is None
    assert Preferences(digest="0" * 64, rows=(row,)).lost_calls


async def test_both_orders_begin_alike_and_an_unanswerable_case_says_so():
    asked = unanswerable()
    given = AnsweredPair(result("old", of=asked), result("new", of=asked))
    _, requests = await ask(likes("old"), given)
    prompts = [body["messages"][0]["content"] for body in requests]
    starts = {prompt[: prompt.index("Answer 1:")] for prompt in prompts}
    assert len(starts) == 1
    assert "The right answer is to say so" in starts.pop()


def logs() -> tuple[EvalLog, EvalLog]:
    return make_log(make_release(), cases=6), make_log(make_release(1), cases=6)


def test_only_cases_that_both_sides_judged_are_compared():
    old, new = logs()
    fewer = replace(
        new, manifest=new.manifest.model_copy(update={"judged_cases": ("q004", "q001")})
    )
    assert [each.challenger.case.case_id for each in judged_pairs(old, fewer)] == ["q001", "q004"]
    assert all(
        each.champion.case.case_id == each.challenger.case.case_id
        for each in judged_pairs(old, new)
    )


def test_the_digest_follows_the_answers_and_the_judge():
    given = (pair("old", "new"), pair("a", "b", "c2"))
    name = preferences_digest(given, JUDGE, max_tokens=9)
    assert name == preferences_digest(given, JUDGE, max_tokens=9)
    for other in (
        preferences_digest(given[:1], JUDGE, max_tokens=9),
        preferences_digest((pair("new", "old"), given[1]), JUDGE, max_tokens=9),
        preferences_digest(given, JUDGE, max_tokens=8),
        preferences_digest(given, make_release(temperature=1.0).model, max_tokens=9),
    ):
        assert other != name


def test_preferences_come_back_as_they_were_written():
    rows = (
        Preference(case_id="a", champion_first="champion", challenger_first="tie"),
        Preference(case_id="b", error_type="Refused", message="no", raw="I won't"),
    )
    found = Preferences(digest="0" * 64, rows=rows)
    assert Preferences.model_validate_json(found.model_dump_json()) == found
