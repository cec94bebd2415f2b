from tasks.report.plots import comparison_rows


def test_rows_for_other_programs_are_not_rounded(promoted) -> None:
    rows = comparison_rows(promoted.decision)
    assert [row["measure"] for row in rows] == ["correct", "tokens"]
    assert rows[0]["delta"] == promoted.decision.comparisons[0].delta
    assert [row["result"] for row in rows] == ["better", "no vote"]
