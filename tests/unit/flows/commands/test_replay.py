def test_an_evaluation_that_is_not_there_is_named(ratchet, project):
    shown = ratchet("replay", "abc123")
    assert shown.exit_code == 2
    assert "'abc123'" in shown.stderr
