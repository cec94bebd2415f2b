from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from tasks.errors import ScoresError
from tasks.gate.decide import decide, worth_a_look
from tasks.gate.noise import noise_floor
from tasks.gate.policy import (
    Anchor,
    Budget,
    GatePolicy,
    MeasurePolicy,
    MustPass,
    Noise,
    Slices,
)
from tasks.gate.scores import ScoredCase, Scores
from tasks.gate.spending import look_at

MakeScores = Callable[..., Scores]


def side(make: MakeScores, correct: list[float | None], **options: object) -> Scores:
    n = len(correct)
    return make({"correct": correct, "f1": [0.5] * n, "tokens": [20.0] * n}, **options)


def with_margins(policy: GatePolicy, margin: float) -> GatePolicy:
    """Margins that few cases can show."""
    rules = {
        name: rule.model_copy(update={"margin": margin}) if rule.margin else rule
        for name, rule in policy.measures.items()
    }
    return policy.model_copy(update={"measures": rules})


def with_passes(n: int, passes: int) -> list[float | None]:
    return [1.0] * passes + [0.0] * (n - passes)


def test_a_clearly_better_challenger_is_promoted(make: MakeScores, policy: GatePolicy) -> None:
    decision = decide(side(make, with_passes(130, 60)), side(make, with_passes(130, 75)), policy)
    assert decision.verdict == "PROMOTE"
    row = decision.comparison("correct")
    assert row is not None
    assert (row.wins, row.losses, row.ties, row.method) == (15, 0, 115, "exact McNemar")
    assert row.p_value == pytest.approx(2**-15, abs=1e-12)
    assert row.delta == pytest.approx(15 / 130)
    assert row.ci_low < row.delta < row.ci_high


def test_an_equal_challenger_is_held_and_told_why(make: MakeScores, policy: GatePolicy) -> None:
    same = with_passes(130, 60)
    decision = decide(side(make, same), side(make, same), policy)
    assert decision.verdict == "HOLD"
    assert decision.reasons[0].measure == "correct"
    assert "isn't ahead" in decision.reasons[0].next_step


def test_a_hold_says_how_many_cases_would_settle_it(make: MakeScores, policy: GatePolicy) -> None:
    decision = decide(side(make, with_passes(130, 60)), side(make, with_passes(130, 63)), policy)
    row = decision.comparison("correct")
    assert decision.verdict == "HOLD"
    assert row is not None
    # Without losses six discordant pairs are enough at look 1: P(Bin(n, 3 / 130) >= 6) = .8.
    assert row.n_needed is not None
    assert binom.sf(5, row.n_needed, 3 / 130) >= 0.8 > binom.sf(5, row.n_needed - 1, 3 / 130)


def test_a_clearly_worse_challenger_is_rejected(make: MakeScores, policy: GatePolicy) -> None:
    decision = decide(side(make, with_passes(130, 75)), side(make, with_passes(130, 60)), policy)
    assert decision.verdict == "REJECT"
    assert decision.reasons[0].text == "correct is worse: 15 losses against 0 wins."


def test_better_and_worse_are_judged_at_the_same_level(
    make: MakeScores, policy: GatePolicy
) -> None:
    for wins in range(1, 12):
        low, high = side(make, with_passes(130, 60)), side(make, with_passes(130, 60 + wins))
        promoted = decide(low, high, policy).verdict == "PROMOTE"
        rejected = decide(high, low, policy).verdict == "REJECT"
        assert promoted == rejected


def test_a_guardrail_that_breaks_rejects_a_better_challenger(
    make: MakeScores, policy: GatePolicy
) -> None:
    old = side(make, with_passes(130, 60))
    new = make(
        {"correct": with_passes(130, 90), "f1": [0.5] * 130, "tokens": [40.0] * 130},
    )
    decision = decide(old, new, policy)
    assert decision.verdict == "REJECT"
    assert decision.reasons[0].measure == "tokens"


def test_a_refresh_with_equal_scores_is_promoted(make: MakeScores, policy: GatePolicy) -> None:
    scores = side(make, with_passes(130, 60), must_pass=[0, 1])
    decision = decide(scores, scores, policy.for_refresh())
    assert decision.verdict == "PROMOTE"
    assert {reason.measure for reason in decision.reasons} == {"correct", "f1", "tokens"}


def test_a_refresh_that_loses_too_much_is_not_promoted(
    make: MakeScores, policy: GatePolicy
) -> None:
    old, new = side(make, with_passes(130, 60)), side(make, with_passes(130, 54))
    assert decide(old, new, policy.for_refresh()).verdict == "HOLD"
    new = side(make, with_passes(130, 30))
    assert decide(old, new, policy.for_refresh()).verdict == "REJECT"


def lost_case(make: MakeScores, value: float | None = 0.0) -> tuple[Scores, Scores]:
    old, new = with_passes(130, 60), with_passes(130, 90)
    new[3] = value
    return side(make, old, must_pass=[3]), side(make, new, must_pass=[3])


def test_a_lost_must_pass_case_holds_until_it_was_asked_again(
    make: MakeScores, policy: GatePolicy
) -> None:
    decision = decide(*lost_case(make), policy)
    assert decision.verdict == "HOLD"
    assert decision.reasons[0].cases == ("case-003",)
    assert "Ask these cases 2 more time(s)" in decision.reasons[0].next_step


def test_a_must_pass_case_that_fails_again_rejects(make: MakeScores, policy: GatePolicy) -> None:
    decision = decide(*lost_case(make), policy, confirmations={"case-003": [0.0, None]})
    assert decision.verdict == "REJECT"
    assert decision.reasons[0].cases == ("case-003",)


def test_a_must_pass_case_that_passes_when_asked_again_is_not_lost(
    make: MakeScores, policy: GatePolicy
) -> None:
    for answers in ([1.0, 1.0], [0.0, 1.0]):
        decision = decide(*lost_case(make), policy, confirmations={"case-003": answers})
        assert decision.verdict == "PROMOTE"


def test_without_confirmation_one_flip_rejects(make: MakeScores, policy: GatePolicy) -> None:
    strict = policy.model_copy(update={"must_pass": MustPass(measure="correct", confirm=0)})
    assert decide(*lost_case(make), strict).verdict == "REJECT"


def test_a_failure_at_a_must_pass_case_is_a_loss(make: MakeScores, policy: GatePolicy) -> None:
    assert decide(*lost_case(make, None), policy).verdict == "HOLD"


def test_too_many_failures_hold_whatever_the_numbers_say(
    make: MakeScores, policy: GatePolicy
) -> None:
    old, new = with_passes(130, 75), with_passes(130, 0)
    new[:10] = [None] * 10
    decision = decide(side(make, old), side(make, new), policy)
    assert decision.verdict == "HOLD"
    assert decision.reasons[0].text == "Too many scores failed or are missing: correct."


def test_a_deciding_measure_without_scores_holds(make: MakeScores, policy: GatePolicy) -> None:
    old, new = make({"correct": with_passes(130, 40)}), make({"correct": with_passes(130, 80)})
    decision = decide(old, new, policy)
    assert decision.verdict == "HOLD"
    assert decision.reasons[0].text == "No scores of: f1, tokens."


def test_missing_scores_count_against_the_challenger(make: MakeScores, policy: GatePolicy) -> None:
    old, new = with_passes(100, 50), with_passes(100, 70)
    old[99], new[0] = None, None
    row = decide(side(make, old), side(make, new), policy).comparison("correct")
    assert row is not None
    # Case 0: champion 1, challenger counted as 0. Case 99: champion counted as 1, challenger 0.
    assert (row.wins, row.losses, row.n_unpaired) == (20, 2, 2)
    assert (row.failed_champion, row.failed_challenger) == (1, 1)


def test_the_same_inputs_give_the_same_bytes(make: MakeScores, policy: GatePolicy) -> None:
    generator = np.random.default_rng(0)
    values = {
        "correct": generator.integers(0, 2, 60).astype(float).tolist(),
        "f1": generator.random(60).tolist(),
        "tokens": generator.lognormal(3, 1, 60).tolist(),
    }
    old = make({**values, "f1": generator.random(60).tolist()})
    decisions = [decide(old, make(values), policy, seed=7) for _ in range(2)]
    assert decisions[0].to_bytes() == decisions[1].to_bytes()
    assert decisions[0].digest == decisions[1].digest
    shuffled = Scores(
        cases=old.cases[::-1],
        rows=old.rows[::-1],
        release=old.release,
        suite_digest=old.suite_digest,
        judge_digest=old.judge_digest,
    )
    assert decide(shuffled, make(values), policy, seed=7).digest == decisions[0].digest
    assert decide(old, make(values), policy, seed=8).digest != decisions[0].digest


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_failure_never_helps_the_challenger(
    make: MakeScores, policy: GatePolicy, data: st.DataObject
) -> None:
    n = data.draw(st.integers(40, 80))
    generator = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    ahead = data.draw(st.sampled_from([0.2, 0.5, 0.9]))
    old = {
        "correct": (generator.random(n) < 0.2).astype(float).tolist(),
        "f1": [0.5] * n,
        "tokens": [20.0] * n,
    }
    new = {
        "correct": (generator.random(n) < ahead).astype(float).tolist(),
        "f1": np.clip(generator.normal(0.55, 0.1, n), 0, 1).tolist(),
        "tokens": (20 * generator.lognormal(0, 0.3, n)).tolist(),
    }
    loose = with_margins(policy, 0.4).model_copy(update={"failure_limit": 0.5, "resamples": 999})
    size = data.draw(st.sampled_from([1, 2]))
    clusters = [str(i // size) for i in range(n)]
    before = decide(make(old, clusters=clusters), make(new, clusters=clusters), loose)
    broken = {name: list(row) for name, row in new.items()}
    for row in broken.values():
        for position in data.draw(st.lists(st.integers(0, n - 1), max_size=4)):
            row[position] = None
    after = decide(make(old, clusters=clusters), make(broken, clusters=clusters), loose)
    if before.verdict != "PROMOTE":
        assert after.verdict != "PROMOTE"


def test_related_cases_are_not_counted_as_independent_evidence(
    make: MakeScores, policy: GatePolicy
) -> None:
    old, new = with_passes(130, 60), with_passes(130, 68)
    alone = decide(side(make, old), side(make, new), policy)
    # The eight wins come from one document.
    clusters = ["one" if 60 <= i < 68 else str(i) for i in range(130)]
    related = decide(side(make, old, clusters=clusters), side(make, new, clusters=clusters), policy)
    assert alone.verdict == "PROMOTE"
    assert related.verdict == "HOLD"


class TestFirstRelease:
    def test_reaching_every_floor_promotes(self, make: MakeScores, policy: GatePolicy) -> None:
        decision = decide(None, side(make, with_passes(40, 20)), policy)
        assert decision.verdict == "PROMOTE"
        assert decision.champion is None
        assert decision.floors[0].mean == 0.5

    def test_missing_a_floor_rejects(self, make: MakeScores, policy: GatePolicy) -> None:
        decision = decide(None, side(make, with_passes(40, 19)), policy)
        assert decision.verdict == "REJECT"
        assert decision.reasons[0].text == "correct misses its floor."

    def test_a_failure_counts_as_the_worst_value(
        self, make: MakeScores, policy: GatePolicy
    ) -> None:
        correct = with_passes(40, 20)
        correct[0] = None
        assert decide(None, side(make, correct), policy).verdict == "REJECT"

    def test_many_failures_hold(self, make: MakeScores, policy: GatePolicy) -> None:
        correct: list[float | None] = [1.0] * 36 + [None] * 4
        assert decide(None, side(make, correct), policy).verdict == "HOLD"

    def test_a_policy_without_floors_holds(self, make: MakeScores, policy: GatePolicy) -> None:
        rules = {
            name: rule.model_copy(update={"floor": None}) for name, rule in policy.measures.items()
        }
        bare = policy.model_copy(update={"measures": rules})
        assert decide(None, side(make, with_passes(40, 40)), bare).verdict == "HOLD"

    def test_a_lower_is_better_floor_is_a_ceiling(
        self, make: MakeScores, policy: GatePolicy
    ) -> None:
        rules = dict(policy.measures)
        rules["tokens"] = rules["tokens"].model_copy(update={"floor": 19.0})
        strict = policy.model_copy(update={"measures": rules})
        decision = decide(None, side(make, with_passes(40, 30)), strict)
        assert decision.verdict == "REJECT"
        assert decision.reasons[0].measure == "tokens"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suite": "other"}, "different suites"),
        ({"judge": "other"}, "different judges"),
        ({"names": "other"}, "different cases"),
    ],
)
def test_what_was_measured_differently_is_not_compared(
    make: MakeScores, policy: GatePolicy, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ScoresError, match=message):
        decide(side(make, with_passes(20, 9)), side(make, with_passes(20, 9), **options), policy)


def test_an_impossible_value_is_refused(make: MakeScores, policy: GatePolicy) -> None:
    correct = with_passes(20, 9)
    correct[4] = 0.5
    with pytest.raises(ScoresError, match="binary measure has 0 or 1"):
        decide(side(make, with_passes(20, 9)), side(make, correct), policy)


def test_too_few_cases_for_a_margin_are_named_before_anything_is_computed(
    make: MakeScores, policy: GatePolicy
) -> None:
    # (1 - .05)^n <= .05 from n = 59 on.
    with pytest.raises(ScoresError, match="f1 has 58 and needs 59"):
        decide(side(make, with_passes(58, 9)), side(make, with_passes(58, 40)), policy)
    assert decide(side(make, with_passes(59, 9)), side(make, with_passes(59, 40)), policy)


def test_the_smallest_policy_works_as_it_stands(make: MakeScores) -> None:
    policy = GatePolicy(
        alpha=0.05,
        measures={"token_f1": MeasurePolicy(kind="bounded", role="primary", direction="higher")},
    )
    generator = np.random.default_rng(3)
    old = generator.uniform(0.2, 0.6, 40)
    new = np.clip(old + generator.normal(0.1, 0.1, 40), 0, 1)
    sides = [make({"token_f1": values.tolist()}) for values in (old, new)]
    decision = decide(*sides, policy, seed=1)
    assert decision.verdict == "PROMOTE"
    status = {check.name: check.status for check in decision.checks}
    unknown = ("noise", "anchor", "budget", "slices", "must_pass")
    assert {status[name] for name in unknown} == {"not_checked"}
    assert decide(sides[1], sides[0], policy, seed=1).verdict == "REJECT"


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ({"noise": Noise(required=True)}, "noise"),
        ({"anchor": Anchor(required=True)}, "anchor"),
        ({"budget": Budget(required=True)}, "budget"),
    ],
)
def test_what_the_policy_requires_and_nobody_gave_holds(
    make: MakeScores, policy: GatePolicy, requirement: dict[str, object], name: str
) -> None:
    strict = policy.model_copy(update=requirement)
    old, new = side(make, with_passes(130, 60)), side(make, with_passes(130, 90))
    decision = decide(old, new, strict)
    assert decision.verdict == "HOLD"
    assert [check.name for check in decision.checks if check.status == "failed"] == [name]


def test_later_looks_need_more_evidence(make: MakeScores, policy: GatePolicy) -> None:
    # Six wins without a loss: p = .0156. Look 1 has .0304, look 2 has .0076.
    old, new = side(make, with_passes(130, 60)), side(make, with_passes(130, 66))
    assert decide(old, new, policy, look=1).verdict == "PROMOTE"
    assert decide(old, new, policy, look=2).verdict == "HOLD"
    spent = look_at("inverse_square", alpha=0.05, number=2, recorded=True)
    by_ledger = decide(old, new, policy, look=spent)
    assert by_ledger.verdict == "HOLD"
    (budget,) = [check for check in by_ledger.checks if check.name == "budget"]
    assert budget.status == "passed"
    assert "Look 2" in budget.text


def test_a_refresh_spends_no_look(make: MakeScores, policy: GatePolicy) -> None:
    scores = side(make, with_passes(130, 60))
    assert decide(scores, scores, policy.for_refresh(), look=40).look is None


def test_small_losses_that_add_up_are_stopped_by_the_anchor(
    make: MakeScores, policy: GatePolicy
) -> None:
    def release(f1: float, passes: int, name: str) -> Scores:
        n = 130
        made = make({"correct": with_passes(n, passes), "f1": [f1] * n, "tokens": [20.0] * n})
        return replace(made, release=name, release_digest=name)

    anchor, champion, challenger = (
        release(0.60, 50, "a"),
        release(0.58, 60, "b"),
        release(0.56, 70, "c"),
    )
    alone = decide(champion, challenger, policy)
    assert alone.verdict == "PROMOTE"
    held = decide(champion, challenger, policy, anchor=anchor)
    assert held.verdict in ("HOLD", "REJECT")
    (check,) = [check for check in held.checks if check.name == "anchor"]
    assert check.measures == ("f1",)
    assert decide(champion, challenger, policy, anchor=champion).verdict == "PROMOTE"
    # What matters to a cheaper way of serving alone says nothing here.
    watched = policy.measures["tokens"].model_copy(update={"role": "report"})
    other = policy.model_copy(
        update={"cheaper": "tokens", "measures": policy.measures | {"tokens": watched}}
    )
    assert decide(champion, challenger, other, anchor=anchor).verdict == held.verdict


def test_an_effect_within_the_noise_holds(make: MakeScores, policy: GatePolicy) -> None:
    generator = np.random.default_rng(5)
    first = (generator.random(130) < 0.5).astype(float)
    flips = generator.random(130) < 0.3
    again = np.where(flips, 1 - first, first)
    noise = noise_floor(side(make, first.tolist()), side(make, again.tolist()), policy)
    floor = noise.floor("correct", 130)
    assert floor == pytest.approx(2 * np.sqrt(flips.sum()) / 130, rel=1e-6)
    better = first.copy()
    better[np.flatnonzero(first == 0)[:11]] = 1.0
    old, new = side(make, first.tolist()), side(make, better.tolist())
    assert decide(old, new, policy).verdict == "PROMOTE"
    decision = decide(old, new, policy, noise=noise)
    assert decision.verdict == "HOLD"
    assert "differs from itself" in decision.reasons[0].text


def test_a_tag_that_lost_everything_holds_a_better_challenger(
    make: MakeScores, policy: GatePolicy
) -> None:
    n = 200
    old = with_passes(n, 100)
    new = [0.0] * 18 + [1.0] * 162 + [0.0] * 20
    watching = policy.model_copy(update={"slices": Slices(margin=0.15)})

    def tagged(values: list[float | None]) -> Scores:
        made = side(make, values)
        cases = tuple(
            ScoredCase(c.case_id, c.cluster, ("dates",) if i < 20 else ("other",))
            for i, c in enumerate(made.cases)
        )
        return replace(made, cases=cases)

    assert decide(tagged(old), tagged(new), policy).verdict == "PROMOTE"
    decision = decide(tagged(old), tagged(new), watching)
    assert decision.verdict == "HOLD"
    assert "dates" in decision.reasons[0].text
    assert {row.tag: row.lost for row in decision.slices} == {"dates": True, "other": False}


def test_measures_without_a_vote_are_adjusted_for_how_many_are_looked_at(
    make: MakeScores, policy: GatePolicy
) -> None:
    old = make({**_deciding(130), "clarity": [3.0] * 130})
    new = make({**_deciding(130), "clarity": [4.0] * 65 + [3.0] * 65})
    row = decide(old, new, policy).comparison("clarity")
    assert row is not None
    assert row.p_value is None
    assert row.p_moved is not None
    assert row.p_moved < 0.01


def _deciding(n: int) -> dict[str, list[float]]:
    return {"correct": [1.0] * n, "f1": [0.5] * n, "tokens": [20.0] * n}


def test_a_look_is_worth_spending_only_on_complete_evidence(
    make: MakeScores, policy: GatePolicy
) -> None:
    old, new = side(make, with_passes(130, 60)), side(make, with_passes(130, 90))
    assert worth_a_look(old, new, policy)
    broken = with_passes(130, 90)
    broken[:10] = [None] * 10
    assert not worth_a_look(old, side(make, broken), policy)
    strict = policy.model_copy(update={"noise": Noise(required=True)})
    assert not worth_a_look(old, new, strict)
    assert worth_a_look(old, new, strict, noise=noise_floor(old, old, policy))


# --- problems of the suite ----------------------------------------------------------------------


def test_a_removed_document_is_named_and_costs_nobody_not_even_a_must_pass_case(
    make: MakeScores, policy: GatePolicy
) -> None:
    rules = with_margins(policy, 0.2).for_refresh()
    same = [1.0] * 130
    old = side(make, same, must_pass=[0])
    decision = decide(old, side(make, same, must_pass=[0], gone=[0, 7]), rules)
    assert decision.verdict == "PROMOTE"
    assert {(row.n, row.losses) for row in decision.comparisons} == {(128, 0)}
    (check,) = [check for check in decision.checks if check.name == "suite"]
    assert (check.status, check.cases) == ("note", ("case-000", "case-007"))
    assert "the challenger's corpus lacks the evidence of 2" in check.text
    assert "correct: 2, f1: 2" in check.detail
    # The same case lost with its document still in the corpus.
    lost = side(make, [0.0, *same[1:]], must_pass=[0])
    assert decide(old, lost, rules, confirmations={"case-000": [0.0] * 3}).verdict == "REJECT"


def test_a_corpus_that_lost_too_many_documents_is_held_and_no_look_is_spent(
    make: MakeScores, policy: GatePolicy
) -> None:
    old = side(make, with_passes(130, 60))
    new = side(make, with_passes(130, 90), gone=range(120, 127))
    decision = decide(old, new, with_margins(policy, 0.2))
    assert decision.verdict == "HOLD"
    assert "Too many of correct, f1, tokens are left out" in decision.reasons[0].text
    assert "ratchet suite check" in decision.reasons[0].next_step
    assert not worth_a_look(old, new, policy)


def test_questions_about_new_documents_hold_nobody_up(make: MakeScores, policy: GatePolicy) -> None:
    old = side(make, with_passes(130, 60), gone=range(110, 130))
    decision = decide(old, side(make, with_passes(130, 75)), with_margins(policy, 0.2))
    assert decision.verdict == "PROMOTE"
    (check,) = [check for check in decision.checks if check.name == "suite"]
    assert "the evidence of 0, the champion's that of 20 (case-110, case-111" in check.text


def test_a_first_release_isnt_held_to_what_its_corpus_lacks(
    make: MakeScores, policy: GatePolicy
) -> None:
    decision = decide(None, side(make, with_passes(60, 30), gone=[0, 59]), policy)
    (row,) = decision.floors
    assert (row.n, row.failed, row.mean) == (58, 0, 0.5)
    assert [check.status for check in decision.checks if check.name == "suite"] == ["note"]
