from tasks.report import words


def test_the_primarys_interval_is_at_the_level_of_its_look(promoted, plain) -> None:
    correct, tokens = (promoted.decision.comparison(name) for name in ("correct", "tokens"))
    assert words.confidence(correct) == "93.9 % interval"
    assert words.confidence(tokens) == "90 % interval"
    assert words.intervals(promoted.decision) == "93.9 % interval of correct, 90 % of the others"
    assert words.confidence(plain.decision.comparison("correct")) == "99.32 % interval"


def test_equal_levels_are_named_once(promoted) -> None:
    row = promoted.decision.comparison("tokens")
    alone = promoted.decision.model_copy(update={"comparisons": (row,)})
    assert words.intervals(alone) == "90 % interval"


def test_a_measure_without_a_vote_has_moved_only_when_chance_does_not_explain_it(
    promoted, plain
) -> None:
    assert words.result(promoted.decision.comparison("tokens")) == "no vote"
    moved = plain.decision.comparison("tokens")
    assert words.result(moved) == "moved"
    assert words.shown_p(moved) == moved.p_moved


def test_a_reason_of_a_check_is_not_given_the_numbers_of_a_measure(plain) -> None:
    sentences = words.sentences(plain.decision)
    against = next(row for row in sentences if row.text.startswith("Against the anchor"))
    # f1 keeps its margin against the champion: that number would speak for the challenger.
    assert against.numbers == ""
    assert "asked: above −0.200" in next(
        row.numbers for row in sentences if row.text.startswith("f1 is no worse")
    )
