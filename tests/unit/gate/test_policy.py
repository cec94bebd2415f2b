from pathlib import Path

import pytest

from tasks.errors import ConfigError
from tasks.gate.policy import GatePolicy, load_policy

SHIPPED = Path(__file__).parents[3] / "configs" / "gate.yaml"


def test_the_shipped_policy_can_decide_and_refresh() -> None:
    policy = load_policy(SHIPPED)
    assert policy.named("primary") == ("answer_correct",)
    refresh = policy.for_refresh()
    assert refresh.named("primary") == ()
    assert "answer_correct" in refresh.named("guardrail")
    assert refresh.digest != policy.digest
    assert refresh.for_refresh() is refresh


def test_another_serving_profile_has_to_cost_less_and_do_no_harm() -> None:
    policy = load_policy(SHIPPED)
    cheaper = policy.for_cheaper()
    assert (cheaper.mode, cheaper.primary) == ("improve", "cost")
    assert set(cheaper.named("guardrail")) == {*policy.named("guardrail"), "answer_correct"}
    assert cheaper.measures["answer_correct"].margin == 0.05
    assert cheaper.digest != policy.digest
    assert cheaper.for_cheaper() is cheaper
    without = GatePolicy.model_validate(policy.model_dump() | {"cheaper": None})
    assert without.for_cheaper() is without


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(
        "alpha: 0.05\n"
        "measures:\n"
        "  correct:\n"
        "    kind: binary\n"
        "    role: boss\n"
        "    direction: higher\n"
    )
    with pytest.raises(ConfigError, match=r"gate\.yaml:5: measures\.correct\.role"):
        load_policy(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"must_pass": "f1"}, "must_pass has to name a binary measure"),
        ({"cheaper": "absent"}, "cheaper has to name a positive measure"),
        ({"cheaper": "f1"}, "cheaper has to name a positive measure"),
        ({"must_pass": "absent"}, "must_pass has to name a binary measure"),
        ({"mode": "refresh"}, "guardrails alone"),
        ({"alpha": 0.0}, "greater than 0"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(
    policy: GatePolicy, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GatePolicy.model_validate(policy.model_dump() | change)


def test_a_measure_that_votes_needs_a_margin(policy: GatePolicy) -> None:
    content = policy.model_dump()
    content["measures"]["f1"]["margin"] = None
    with pytest.raises(ValueError, match="a guardrail needs a margin"):
        GatePolicy.model_validate(content)
