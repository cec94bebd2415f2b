import re

from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.document import normalise
from tasks.corpus.html import read_page
from tasks.corpus.markdown import marked_text as marked_markdown
from tasks.corpus.structure import CODE, END, TABLE, Block, find_blocks, heading, without_marks

MARKS = re.compile("[\ufdd0-\ufdd8]")

markdown = st.lists(
    st.sampled_from(
        [
            "# Head",
            "Under\n===",
            "## ",
            "Text, *more* text.",
            "    code\n\n\n    more  ",
            "```\n\n\nx\n```",
            "```\n```",
            "| a | b |\n|---|---|\n| 1 | 2 |",
            "- item\n\n      code",
            "- # Head in a list",
            "> # Quoted",
            "<h2>Html</h2><pre>\n\n x </pre>",
            "<table><tr><td><h3>In</h3></td><td>b</td></tr></table>",
        ]
    ),
    max_size=8,
).map("\n\n".join)
html = st.lists(
    st.sampled_from(
        [
            "<h1>Head</h1>",
            "<h2> a<br>b </h2>",
            "<h3></h3>",
            "text ",
            " more",
            "<p>para",
            "<pre>\n x\n\n\n\ny \n</pre>",
            "<table><tr><td>1<td> 2",
            "</table>",
            "<td><pre>z</pre>",
            "<ul><li><h4>In</h4>",
            "<div>d</div>",
        ]
    ),
    max_size=10,
).map("".join)


def check(marked: str) -> None:
    text, blocks = find_blocks(normalise(marked))
    plain = normalise(MARKS.sub("", marked))
    assert re.sub(r"\s+", " ", text) == re.sub(r"\s+", " ", plain)
    assert normalise(text) == text
    last = 0
    for block in blocks:
        assert last <= block.start < block.end <= len(text)
        assert text[block.start : block.end].strip() == text[block.start : block.end]
        last = block.end


@given(markdown)
def test_marks_change_no_word_of_markdown_and_blocks_lie_in_the_text(source: str):
    check(marked_markdown(source)[1])


@given(html)
def test_marks_change_no_word_of_html_and_blocks_lie_in_the_text(source: str):
    check(read_page(source).text)


def test_blocks_are_found_where_they_stand():
    marked = f"{heading(2)}Head{END}\n\nText\n\n{CODE}  x\n\ny{END}\n\nend"
    text, blocks = find_blocks(marked)
    assert text == "Head\n\nText\n\n  x\n\ny\n\nend"
    assert blocks == (Block("heading", 0, 4, 2), Block("code", 14, 18))
    assert text[14:18] == "x\n\ny"


def test_a_block_without_text_is_none_and_a_table_around_blocks_is_a_layout():
    assert find_blocks(f"a\n\n{CODE} {END}\n\nb") == ("a\n\nb", ())
    marked = f"{TABLE}x\n{heading(1)}Head{END}\ny{END}"
    assert find_blocks(marked) == ("x\nHead\ny", (Block("heading", 2, 6, 1),))


def test_marks_in_a_source_are_no_marks():
    assert without_marks(f"a{END}b{heading(6)}{CODE}") == "a\ufffdb\ufffd\ufffd"
