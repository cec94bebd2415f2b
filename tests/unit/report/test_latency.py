from tasks.report.html import decision_page
from tasks.report.latency import latency_rows
from tasks.report.markdown import decision_markdown
from tasks.serve.latency import LatencyReport, SideLatency, quantiles


def report(**sides: float) -> LatencyReport:
    """Forty answers a side, whose first token took so long, or a little longer."""
    return LatencyReport(
        rate=2.0,
        seed=7,
        prefix_cache="busted",
        confidence=0.95,
        prompts=40,
        late_s=0.0,
        sides={
            name: SideLatency(
                requests=41,
                failures=1,
                input_tokens=4_000,
                cached_tokens=0,
                first_token_s=quantiles([first + n / 1_000 for n in range(40)]),
                per_token_s=(),
                total_s=quantiles([first + 1 + n / 1_000 for n in range(40)]),
            )
            for name, first in sides.items()
        },
    )


def test_what_is_compared_stands_together_and_the_unknown_is_said():
    rows = latency_rows(report(champion=0.5, challenger=0.25))
    assert [(row.what, row.side) for row in rows[:3]] == [
        ("first token", "champion"),
        ("first token", "challenger"),
        ("each further token", "champion"),
    ]
    assert rows[0].quantiles[0] == "0.519 s [0.513 s, 0.526 s]"
    # Forty answers can't bound how slow one in a hundred is.
    assert rows[0].quantiles[2] == "0.539 s [0.537 s, ∞]"
    assert rows[2].quantiles == ("not known",) * 3
    assert (rows[0].n, rows[0].failures) == (41, 1)


def test_the_report_says_how_the_latency_was_measured(promoted):
    found = report(champion=0.5, challenger=0.25)
    for text in (
        decision_page(promoted.decision, promoted.old, promoted.new, latency=found),
        decision_markdown(promoted.decision, promoted.old, promoted.new, latency=found),
    ):
        assert "0.519 s [0.513 s, 0.526 s]" in text
        assert "Poisson" in text
        assert "busted" in text


def test_the_report_sums_what_both_sides_cost(promoted):
    spent = [log.manifest.costs.values() for log in (promoted.old, promoted.new)]
    total = sum(row.cost for rows in spent for row in rows)
    assert total > 0
    assert f"Both evaluations together: {total:.3g}" in promoted.markdown()
    assert "This decision" in promoted.page()


def test_the_report_says_what_the_whole_run_spent(promoted):
    sides = (promoted.decision, promoted.old, promoted.new)
    assert "All calls of this run: 1.25 USD." in decision_markdown(*sides, spent={"USD": 1.25})
    assert "1.25 USD" in decision_page(*sides, spent={"USD": 1.25})
    # Who decides on stored evaluations asks nothing.
    assert "This run" not in decision_page(*sides)
