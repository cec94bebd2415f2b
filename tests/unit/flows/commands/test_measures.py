import json
import re
from pathlib import Path

from tasks.evaluate.measures import MEASURES

DOCS = Path(__file__).parents[4] / "docs" / "evaluation.md"


def test_the_measures_of_the_project_are_listed_with_what_they_need(ratchet, project):
    project.edit("evaluate", measures=["R@4", "contains", "native_faithfulness"])
    shown = ratchet("measures", "--json")
    assert shown.exit_code == 0
    rows = json.loads(shown.stdout)
    assert [(row["name"], row["calls"]) for row in rows] == [
        ("R@4", None),
        ("contains", None),
        ("native_faithfulness", "1"),
    ]
    assert rows[2]["inputs"] == ["question", "passages", "answer"]
    text = ratchet("measures").stdout
    assert "native_faithfulness" in text
    assert "toxicity" not in text


def test_every_measure_is_listed_on_request(ratchet, project):
    project.edit("evaluate", measures=["R@4"])
    rows = json.loads(ratchet("measures", "--all", "--json").stdout)
    assert [row["name"] for row in rows] == ["R@4", *MEASURES]
    assert [row["name"] for row in rows if row["used"]] == ["R@4"]


def test_an_unknown_measure_is_an_error_with_a_next_step(ratchet, project):
    project.edit("evaluate", measures=["rouge"])
    shown = ratchet("measures")
    assert shown.exit_code == 2
    assert "no measure 'rouge'" in shown.stderr


def test_the_documentation_says_of_every_measure_what_its_code_declares():
    lines = re.findall(r"^\| (`.+)\|$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    written = {row[0].strip("`"): (row[1], row[2]) for row in rows if len(row) == 4}
    for name, found in MEASURES.items():
        assert written[name] == (", ".join(found.inputs), found.calls or "none"), name
