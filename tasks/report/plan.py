"""GatePlan -> sentences: what the next run can find, and what it will take."""

from collections.abc import Iterator

from tasks.gate.plan import GatePlan, MeasurePlan
from tasks.report import numbers


def plan_lines(plan: GatePlan) -> Iterator[str]:
    """One line for the look, one for each measure with a vote, one for the cost."""
    if plan.look is not None:
        left = "" if plan.look.left is None else f", {numbers.significant(plan.look.left)} left"
        yield (
            f"Look {plan.look.number} at this suite: level "
            f"{numbers.significant(plan.look.alpha)}{left}."
        )
    for row in plan.measures:
        yield f"{row.measure}: {measure_text(row)}"
    yield f"Spread of the differences: from {plan.source}."
    if plan.cost is not None:
        tokens = plan.cost.input_tokens + plan.cost.output_tokens
        yield (
            f"One evaluation: {numbers.plural(plan.cost.calls, 'call')}, "
            f"{numbers.count(tokens)} tokens, about "
            f"{numbers.duration(plan.cost.minutes * 60)} and "
            f"{numbers.money(plan.cost.cost, plan.cost.currency)}."
        )
    for reason in plan.hopeless:
        yield f"Hopeless: {reason}"


def measure_text(row: MeasurePlan) -> str:
    """What so many cases can say about one measure."""
    found = "nothing" if row.detectable is None else _amount(row, row.detectable)
    if row.role == "primary":
        text = f"{numbers.plural(row.n, 'case')} find an improvement of {found}"
        if row.asked is None:
            return f"{text}."
        text += f"; asked for: {_amount(row, row.asked)}, found in {_share(row)} of the runs"
    else:
        text = f"a harmless challenger shows a margin of {found}"
        text += (
            f"; asked for: {_amount(row, row.asked or 0.0)}, passed in {_share(row)} of the runs"
        )
    if row.n_needed is None:
        return f"{text}."
    enough = row.n_needed <= row.n
    return f"{text}; {'enough are' if enough else 'that takes about'} {row.n_needed} cases."


def _share(row: MeasurePlan) -> str:
    return numbers.percent(row.power or 0.0, 0)


def _amount(row: MeasurePlan, value: float) -> str:
    if row.kind == "bounded":
        return numbers.fixed(value, 3)
    return f"{numbers.fixed(value * 100, 1)} {'points' if row.kind == 'binary' else '%'}"
