from benchmarks.judging import URL, make_results
from benchmarks.judging_peers import RUBRICS, promptfoo_config


def test_promptfoo_gets_the_answers_as_they_are_and_six_questions_about_each(tmp_path):
    results = make_results(3)
    config = promptfoo_config(results, tmp_path / "words.js")
    # Its model only repeats the answer: no call is spent on answering.
    assert (config["providers"], config["prompts"]) == (["echo"], ["{{answer}}"])
    assert [test["vars"]["answer"] for test in config["tests"]] == [r.answer.text for r in results]
    kinds = [each["type"] for each in config["defaultTest"]["assert"]]
    assert len(kinds) == 6
    assert kinds.count("llm-rubric") == len(RUBRICS)


def test_promptfoo_asks_the_stub_and_nobody_else(tmp_path):
    config = promptfoo_config(make_results(1), tmp_path / "words.js")
    judges = [each["provider"] for each in config["defaultTest"]["assert"]]
    asked = [judge.get("text", judge) for judge in judges]
    assert {judge["config"]["apiBaseUrl"] for judge in asked} == {URL}
