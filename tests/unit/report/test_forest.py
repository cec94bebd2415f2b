from tasks.report.forest import WIDTH, panels


def test_better_is_to_the_right_and_everything_is_inside(promoted) -> None:
    quality, effort = panels(promoted.decision.comparisons, promoted.policy)
    row, mark = quality.rows[0]
    assert row.measure == "correct"
    assert quality.zero < mark.low < mark.point < mark.high <= WIDTH
    for panel in (quality, effort):
        xs = [tick.x for tick in panel.ticks]
        assert xs == sorted(xs)
        assert len(xs) >= 3
        assert 0 < xs[0] < xs[-1] < WIDTH
        assert sum(tick.zero for tick in panel.ticks) == 1


def test_a_wide_interval_without_a_vote_is_cut_and_marked(promoted) -> None:
    comparisons = promoted.decision.comparisons
    wide = comparisons[0].model_copy(
        update={"measure": "tokens", "role": "report", "delta": 0.9, "ci_low": -0.9, "ci_high": 1.0}
    )
    (quality,) = panels((comparisons[0], wide), promoted.policy)
    _, mark = quality.rows[1]
    assert mark.cut_low
    assert mark.cut_high
    assert mark.point is None
