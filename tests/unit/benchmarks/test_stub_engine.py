from dataclasses import replace

import pytest

from benchmarks.stub.engine import BLOCK_TOKENS, Engine, Request, Speed, request_of, seconds_of

SPEED = Speed(prefill_tokens_s=1_000, decode_tokens_s=50, step_s=0.0, max_num_seqs=4)


def prompt(words: int, name: str = "word") -> str:
    return " ".join(f"{name}{number % 10}" for number in range(words))


def run(engine: Engine, *requests: Request) -> float:
    for request in requests:
        engine.add(request)
    seconds = 0.0
    while not engine.idle:
        seconds += engine.step().seconds
    return seconds


def test_a_lone_request_takes_its_prompt_at_the_prefill_rate_and_its_answer_at_the_decode_rate():
    request = request_of(prompt(500), output_tokens=11)
    seconds = run(Engine(SPEED), request)
    # The first token of the answer comes from the prefill.
    assert seconds == pytest.approx(request.prompt_tokens / 1_000 + 10 / 50)


def test_an_equal_prompt_costs_only_its_last_block():
    engine = Engine(SPEED)
    run(engine, request_of(prompt(500), 1))
    again = request_of(prompt(500), 1)
    seconds = run(engine, again)
    assert again.prompt_tokens - again.cached_tokens <= BLOCK_TOKENS
    assert seconds == pytest.approx((again.prompt_tokens - again.cached_tokens) / 1_000)


def test_only_what_is_shared_from_the_start_is_cached():
    engine = Engine(SPEED)
    run(engine, request_of("first instruction " + prompt(300), 1))
    other = request_of("other instruction " + prompt(300), 1)
    run(engine, other)
    assert other.cached_tokens == 0
    tail = request_of("other instruction " + prompt(300) + " and more of it", 1)
    run(engine, tail)
    assert tail.cached_tokens >= 280


def test_requests_of_one_step_share_their_prefix():
    shared = prompt(400)
    requests = [request_of(f"{shared} ask {letter * 9}", 1) for letter in "abcd"]
    run(Engine(SPEED), *requests)
    assert [request.cached_tokens > 380 for request in requests] == [False, True, True, True]


def test_no_more_run_at_once_than_the_server_can_batch():
    engine = Engine(SPEED)
    for number in range(9):
        engine.add(request_of(prompt(20, f"n{number}"), 5))
    most = 0
    while not engine.idle:
        engine.step()
        most = max(most, len(engine.running))
    assert most == 4


def test_what_is_unused_for_longest_is_evicted():
    blocks = 40
    engine = Engine(replace(SPEED, cache_blocks=blocks))
    old, new = prompt(200, "old"), prompt(200, "new")
    run(engine, request_of(old, 1))
    run(engine, request_of(new, 1))
    run(engine, request_of(prompt(500, "big"), 1))
    again = request_of(old, 1)
    run(engine, again)
    assert again.cached_tokens == 0
    assert len(engine._kept) <= blocks


def test_what_is_released_is_whole_again():
    engine = Engine(SPEED)
    run(engine, *(request_of(prompt(100, f"p{number % 3}"), 4) for number in range(20)))
    assert engine.cache_usage == 0
    assert engine.queried_tokens > engine.hit_tokens > 0


def test_a_request_whose_client_went_away_frees_its_place():
    engine = Engine(SPEED)
    gone = request_of(prompt(100), 1_000)
    engine.add(gone)
    engine.step()
    engine.remove(gone)
    assert engine.idle
    assert engine.cache_usage == 0


def test_six_measures_with_the_context_first_cost_a_third_of_those_with_it_last():
    context = prompt(1_200)
    instructions = [prompt(300, f"ask{letter}") for letter in "abcdef"]
    first = [request_of(f"{context} {text}", 1) for text in instructions]
    last = [request_of(f"{text} {context}", 1) for text in instructions]
    assert seconds_of(last, SPEED) == pytest.approx(3 * seconds_of(first, SPEED), rel=0.05)
