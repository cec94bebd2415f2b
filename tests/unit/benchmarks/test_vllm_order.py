import random

from benchmarks.vllm_order import CONTEXTS, MEASURES, positions, prompts_of


def test_each_context_is_asked_once_for_each_measure_in_an_order_that_says_nothing():
    prompts = prompts_of(random.Random(6))
    cases = [case for case, _ in prompts]
    assert sorted(cases) == sorted(list(range(CONTEXTS)) * MEASURES)
    assert cases != sorted(cases)
    contexts: dict[int, set[str]] = {}
    for case, text in prompts:
        contexts.setdefault(case, set()).add(text.split("\n\n")[0])
    assert all(len(found) == 1 for found in contexts.values())
    assert len({text for _, text in prompts}) == len(prompts)


def test_only_with_ordering_does_the_stream_learn_which_calls_share_a_context():
    assert positions([2, 0, 2, 1], ordered=True) == [2, 0, 2, 1]
    assert positions([2, 0, 2, 1], ordered=False) == [0, 1, 2, 3]
