import json
import random
from dataclasses import asdict, replace

import pytest

from benchmarks.judging import CPU_FASTER, profile
from benchmarks.stub.engine import Request, Speed, request_of, seconds_of
from benchmarks.stub.profile import PROCESSOR, Observation, faster, fit, read_speed, work_of
from benchmarks.stub.server import MODEL, StubServer
from benchmarks.stub_calibration import Ask, held_out, observe, stub_seconds, text_of

TRUE = Speed(
    prefill_tokens_s=2_500.0,
    decode_tokens_s=320.0,
    step_s=0.015,
    max_num_seqs=8,
    cache_blocks=512,
    block_tokens=128,
)
FAST = Speed(prefill_tokens_s=1e6, decode_tokens_s=1e6, step_s=0.0005, block_tokens=32)


def observed(speed: Speed, prompt_tokens: int, output_tokens: int, batch: int) -> Observation:
    requests = tuple(Request(prompt_tokens, (), output_tokens) for _ in range(batch))
    return Observation(requests, seconds_of([replace(each) for each in requests], speed))


def observations(speed: Speed) -> list[Observation]:
    lone = [observed(speed, tokens, 1, 1) for tokens in (200, 700, 3_000)]
    return lone + [observed(speed, 30, 33, batch) for batch in (1, 4, 8, 16)]


def test_the_fit_finds_the_rates_that_made_the_timings():
    unknown = replace(TRUE, prefill_tokens_s=1.0, decode_tokens_s=1.0, step_s=9.0)
    assert asdict(fit(observations(TRUE), unknown)) == pytest.approx(asdict(TRUE), rel=1e-6)


def test_the_fit_of_noisy_timings_predicts_other_work():
    draw = random.Random(3)
    noisy = [
        replace(each, seconds=each.seconds * draw.uniform(0.9, 1.1))
        for each in observations(TRUE) * 5
    ]
    other = [Request(400, (), 20) for _ in range(10)]
    true = seconds_of([replace(each) for each in other], TRUE)
    assert seconds_of(other, fit(noisy, TRUE)) == pytest.approx(true, rel=0.1)


def test_what_costs_nothing_gets_a_rate_without_end_and_not_a_division_by_zero():
    free = replace(TRUE, decode_tokens_s=1e15)
    found = fit(observations(free), free)
    assert found.decode_tokens_s > 1e6
    assert found.step_s == pytest.approx(free.step_s, rel=1e-3)


def test_work_is_counted_in_steps_and_tokens_and_the_requests_stay_as_they_were():
    requests = [Request(100, (), 5), Request(50, (), 3)]
    assert work_of(requests, TRUE) == (5, 150, 4 + 2)
    assert [request.computed for request in requests] == [0, 0]
    assert work_of(requests, TRUE) == (5, 150, 6)


def test_the_block_size_decides_what_a_second_request_finds():
    text = " ".join(f"word{number % 10}" for number in range(150))
    for block in (16, 128):
        speed = replace(TRUE, block_tokens=block)
        first, second = (request_of(f"{text} {end}", 1, block) for end in ("a", "b"))
        seconds_of([first], speed)
        assert len(first.blocks) == first.prompt_tokens // block
        both = [request_of(f"{text} {end}", 1, block) for end in ("a", "b")]
        seconds_of(both, speed)
        # Whole blocks before the two texts differ.
        assert both[1].cached_tokens == (second.prompt_tokens - 1) // block * block


def test_an_observation_leaves_out_what_the_server_had_cached():
    ask = Ask(text_of(200, random.Random(1)), 3)
    with StubServer(FAST) as stub:
        first, nothing = observe(stub.url, MODEL, [ask])
        again, cached = observe(stub.url, MODEL, [ask])
    (whole,), (rest,) = first.requests, again.requests
    assert (nothing, whole.output_tokens) == (0, 3)
    assert cached >= 160
    assert rest.prompt_tokens == whole.prompt_tokens - cached


def test_the_stub_is_asked_the_held_out_work_and_finds_its_shared_contexts():
    asks = held_out(random.Random(2))
    _, prompt_tokens, cached = stub_seconds(asks, FAST)
    alone = sum(request_of(ask.prompt, 1).prompt_tokens for ask in asks)
    assert prompt_tokens > alone
    assert cached > prompt_tokens / 3


def test_a_profile_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "machine.json"
    path.write_text(json.dumps({"model": "any", "speed": asdict(TRUE)}))
    assert read_speed(path) == TRUE


def test_a_faster_machine_of_the_same_proportions_needs_that_much_less_time():
    slow = seconds_of([Request(300, (), 9) for _ in range(12)], TRUE)
    fast = seconds_of([Request(300, (), 9) for _ in range(12)], faster(TRUE, 8))
    assert slow / fast == pytest.approx(8)


def test_the_processor_of_p5_has_the_proportions_that_were_measured():
    measured = read_speed(PROCESSOR)
    assert profile("CPU") == faster(measured, CPU_FASTER)
    assert measured.block_tokens == 128
