import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tasks.report.markdown import decision_markdown, escape

VIEWER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@pytest.fixture(params=["promoted", "held", "first"])
def text(request) -> str:
    shown = request.getfixturevalue(request.param)
    return decision_markdown(shown.decision, shown.old, shown.new, page="a/b.html")


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
    text = decision_markdown(promoted.decision, promoted.old, promoted.new)
    assert "**14 wins**, **0 losses**, 26 without a difference" in text
    assert "new answer 10" in text
    assert "and 9 more" in text


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
