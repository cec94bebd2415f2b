from pathlib import Path

from tasks.report.plots import comparison_rows, save_plots


def test_figures_are_written_for_every_measure(promoted, first, tmp_path: Path) -> None:
    paths = save_plots(promoted.decision, promoted.old, promoted.new, tmp_path / "a")
    names = ["forest.png", "distribution-correct.png", "distribution-tokens.png"]
    assert [path.name for path in paths] == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    paths = save_plots(first.decision, None, first.new, tmp_path / "b")
    assert [path.name for path in paths] == names[1:]


def test_rows_for_other_programs_are_not_rounded(promoted) -> None:
    rows = comparison_rows(promoted.decision)
    assert [row["measure"] for row in rows] == ["correct", "tokens"]
    assert rows[0]["delta"] == promoted.decision.comparisons[0].delta
