import pytest

from tasks.serve.governor import LOOK_S, LOOK_SOON_S, Governor, gauges


def serve(governor: Governor, *, batch: int, seconds: float = 60.0) -> list[int]:
    """Limits over time beside a server whose work a second grows up to `batch` requests.

    Every request takes a second; more than `batch` of them share what there is.
    """
    limits, now = [], 0.0
    while now < seconds:
        rate = min(governor.limit, batch)
        now += 1 / rate
        governor.finished(1.0, now=now, wanted=True)
        limits.append(governor.limit)
    return limits


def test_without_a_word_from_the_server_the_limit_finds_its_batch():
    limits = serve(Governor(limit=4, cap=512), batch=64)
    late = limits[len(limits) // 2 :]
    # What the last few would add is less than the gain that is looked for.
    assert min(late) >= 64 * 0.9
    assert sorted(late)[len(late) // 2] <= 160


def test_the_cap_is_never_passed_and_a_fixed_limit_never_moves():
    assert max(serve(Governor(limit=4, cap=32), batch=64)) == 32
    assert set(serve(Governor(limit=4, cap=512, fixed=True), batch=64, seconds=20)) == {4}


def test_without_calls_held_back_nothing_is_tried():
    governor = Governor(limit=4, cap=64)
    for step in range(100):
        governor.finished(1.0, now=step / 4, wanted=False)
    assert governor.limit == 4


def test_a_server_that_pushes_back_gets_half():
    governor = Governor(limit=64, cap=128)
    governor.pushed_back()
    governor.pushed_back()
    assert governor.limit == 16


def test_what_the_server_says_decides():
    governor = Governor(limit=8, cap=512)
    batch = 100
    for _ in range(40):
        running = min(governor.limit, batch)
        governor.told(running, governor.limit - running, sent=governor.limit, wanted=True)
    # All that it can run, and a backlog that it never has to wait for.
    assert batch < governor.limit <= batch * 1.3
    for _ in range(40):
        running = min(governor.limit, 10)
        governor.told(running, governor.limit - running, sent=governor.limit, wanted=True)
    assert 10 < governor.limit <= 15


def test_a_server_that_lets_nothing_wait_gets_twice_as_many():
    governor = Governor(limit=16, cap=512)
    for sent in (16, 33, 67):
        assert governor.limit == sent
        governor.told(sent, 0, sent=sent, wanted=True)


def test_a_count_from_before_the_calls_came_is_no_reason_for_more_of_them():
    governor = Governor(limit=32, cap=256)
    for _ in range(50):
        governor.told(0, 0, sent=32, wanted=True)
    assert governor.limit == 32
    governor.told(32, 0, sent=32, wanted=True)
    assert governor.limit > 32


def test_the_server_is_asked_again_soon_while_the_limit_grows_and_seldom_when_it_is_found():
    governor = Governor(limit=16, cap=40)
    governor.told(16, 0, sent=16, wanted=True)
    assert (governor.limit, governor.look_in_s) == (33, LOOK_SOON_S)
    governor.told(33, 0, sent=33, wanted=True)
    assert (governor.limit, governor.look_in_s) == (40, LOOK_SOON_S)
    governor.told(40, 0, sent=40, wanted=True)
    assert (governor.limit, governor.look_in_s) == (40, LOOK_S)


def test_a_server_that_still_places_what_waits_keeps_its_limit_and_then_gets_more():
    governor = Governor(limit=64, cap=512)
    for running in (4, 4, 4, 12, 20, 20, 33, 47, 60):
        governor.told(running, 64 - running, sent=64, wanted=True)
        assert governor.look_in_s < LOOK_S
    assert governor.limit == 97


def test_a_server_that_is_slow_to_count_is_asked_ever_more_seldom():
    governor = Governor(limit=16, cap=64)
    pauses = []
    for _ in range(8):
        governor.told(0, 0, sent=16, wanted=True)
        pauses.append(governor.look_in_s)
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1] == LOOK_S
    governor.told(16, 0, sent=16, wanted=True)
    assert governor.look_in_s == LOOK_SOON_S


def test_a_limit_is_never_nothing():
    governor = Governor(limit=0, cap=8)
    for _ in range(5):
        governor.pushed_back()
    assert governor.limit == 1


METRICS = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 12.0
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="1",model_name="m"} 1e1
vllm:num_requests_waiting_by_reason{engine="1",model_name="m"} 5
"""


def test_the_engines_of_a_server_are_summed():
    assert gauges(METRICS) == (13.0, 13.0)


@pytest.mark.parametrize("text", ["", "<html>", "vllm:num_requests_running 2\n"])
def test_what_is_not_the_text_of_vllm_says_nothing(text):
    assert gauges(text) is None
