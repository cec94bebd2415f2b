import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tasks.report.markdown import escape

VIEWER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@pytest.fixture(params=["promoted", "held", "first", "plain"])
def text(request) -> str:
    return request.getfixturevalue(request.param).markdown()


def test_nothing_that_a_model_wrote_is_rendered(text: str) -> None:
    html = VIEWER.render(text)
    for tag in ("<script", "<img", "<a ", "<iframe", "<em>e", "<strong>e"):
        assert tag not in html
    assert "evil.example" not in text
    assert "\u202e" not in text


def test_the_verdict_comes_first(text: str) -> None:
    assert text.splitlines()[0].split()[-1] in ("PROMOTE", "HOLD", "REJECT")
    assert text.splitlines()[2].startswith("**The")


def test_tables_keep_their_columns(text: str) -> None:
    rows = [line for line in text.splitlines() if line.startswith("|")]
    blocks: list[list[str]] = []
    for row in rows:
        if "---" in row:
            blocks.append([])
        if blocks:
            blocks[-1].append(row)
    assert blocks
    html = VIEWER.render(text)
    assert html.count("<table>") == len(blocks)


def test_wins_are_counted_and_the_first_ones_named(promoted) -> None:
    text = promoted.markdown()
    assert "**14 wins**, **0 losses**, 26 ties" in text
    assert "new answer 10" in text
    assert "and 9 more" in text


def test_every_check_has_a_row_with_its_status(held) -> None:
    text = held.markdown()
    section = text[text.index("## Checks") : text.index("## Measures")]
    assert section.count("| ✅ passed |") == 4
    assert section.count("| ⏸️ hold |") == 2
    assert section.count("| ⚪ not checked |") == 4


def test_scores_alone_list_cases_with_both_values(plain) -> None:
    text = plain.markdown()
    assert "| case-03 | pass | fail |" in text
    assert "Time, cost" not in text
    assert "## Against the anchor" in text
    assert "| prompt | **helped** | +50.0 points" in text
    assert "| even | 40 | +97.5 points" in text
    assert "**lost**" in text


@given(st.text(max_size=60))
def test_escaped_text_reads_as_it_was_and_is_only_text(text: str) -> None:
    html = VIEWER.renderInline(escape(text))
    shown = "".join(c if c.isprintable() or c.isspace() else " " for c in text)
    unescaped = (
        html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    )
    assert unescaped.split() == shown.split()
    assert "|" not in escape(text)
    assert "<" not in escape(text)
