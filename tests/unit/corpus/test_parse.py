from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.document import normalise
from tasks.corpus.parse import (
    Parsed,
    Unreadable,
    file_title,
    parse,
    parse_html,
    parse_markdown,
    parse_pdf,
    parse_text,
)
from tasks.corpus.structure import Block
from tests.pdf import make_pdf


def test_markdown_gives_what_a_reader_of_the_page_sees():
    source = b"""# The *first* `heading`

A [link](http://example.org) and an ![image](x.png),
wrapped.

- one
- two
  1. inner

```python
if x:
    y()
```

| a | b |
|---|---|
| 1 | 2 |
"""
    assert parse_markdown(source) == Parsed(
        "The first heading",
        "The first heading\n\nA link and an image, wrapped.\n\n- one\n- two\n  1. inner\n\n"
        "if x:\n    y()\n\na | b\n1 | 2",
        (Block("heading", 0, 17, 1), Block("code", 74, 87), Block("table", 89, 100)),
    )


def test_markdown_without_a_heading_has_no_title():
    assert parse_markdown(b"Just text.") == Parsed(None, "Just text.")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_front_matter_is_no_text_and_names_a_page_without_heading(end: bytes):
    source = end.join([b"---", b'title: "Getting started"', b"tags: [a]", b"---", b"Text."])
    assert parse_markdown(source) == Parsed("Getting started", "Text.")
    assert parse_markdown(source + end * 2 + b"# Head").title == "Head"


def test_a_rule_at_the_start_is_no_front_matter():
    assert parse_markdown(b"---\n\nText.\n") == Parsed(None, "Text.")


def test_nested_markdown_lists_lose_nothing():
    source = "\n".join("  " * depth + f"- item{depth}" for depth in range(40))
    text = parse_markdown(source.encode()).text
    assert all(f"item{depth}" in text for depth in range(40))


def test_html_in_markdown_gives_its_text():
    parsed = parse_markdown(b"<div>\nraw <b>bold</b>\n<script>alert(1)</script></div>\n\nafter")
    assert parsed == Parsed(None, "raw bold\n\nafter")


def test_html_gives_visible_text_without_scripts_and_styles():
    source = b"""<!doctype html><html><head><title> The
    page &amp; more</title><style>p { color: red }</style></head><body>
    <script>var hidden = "no";</script><h1>Head</h1>
    <p>One <b>two</b>,
       three<br>four</p><div>five<div>six</div></div>
    <ul><li>a</li><li>b</li></ul>
    <table><tr><td>1</td><td>2</td></tr></table><pre>x
      y</pre><!-- no --><noscript>no</noscript></body></html>"""
    assert parse_html(source) == Parsed(
        "The page & more",
        "Head\n\nOne two, three\nfour\n\nfive\nsix\n\n- a\n- b\n\n1 | 2\n\nx\n      y",
        (Block("heading", 0, 4, 1), Block("table", 46, 51), Block("code", 53, 62)),
    )


def test_html_without_a_title_is_named_by_its_first_heading():
    assert parse_html(b"<h1>Head</h1><p>Text").title == "Head"
    assert parse_html(b"<p>Text").title is None


def test_html_is_read_in_the_charset_it_declares():
    source = '<meta charset="iso-8859-1"><p>café</p>'
    assert parse_html(source.encode("latin-1")).text == "café"
    assert parse_html(b'<meta charset="klingon"><p>x') == Unreadable(
        "wrong_encoding", "The file declares an unknown charset 'klingon'."
    )


def test_html_that_is_nested_without_end_is_broken_and_takes_no_time():
    found = parse_html(b"<div>" * 500_000 + b"x")
    assert isinstance(found, Unreadable)
    assert found.reason == "broken"


def test_deep_html_that_is_well_formed_is_read():
    assert parse_html(b"<div>" * 5_000 + b"deep" + b"</div>" * 5_000).text == "deep"


def test_text_is_read_with_and_without_a_byte_order_mark():
    assert parse_text("\ufeffcafe\u0301 \r\nend".encode()) == Parsed(None, "café\nend")


@pytest.mark.parametrize(
    "data",
    ["café".encode("latin-1"), "text".encode("utf-16"), "text".encode("utf-16-le"), b"a\0b"],
)
@pytest.mark.parametrize("suffix", [".txt", ".md", ".html"])
def test_what_is_not_utf_8_is_reported_as_wrongly_encoded(data: bytes, suffix: str):
    found = parse(data, suffix=suffix)
    assert isinstance(found, Unreadable)
    assert found.reason == "wrong_encoding"


def test_a_pdf_gives_the_text_of_its_pages_and_its_title():
    parsed = parse_pdf(make_pdf("First page.", "Second page.", title="A paper"))
    assert parsed == Parsed("A paper", "First page.\n\nSecond page.")


def test_a_pdf_without_text_is_empty_and_says_what_to_do():
    found = parse_pdf(make_pdf(""))
    assert isinstance(found, Unreadable)
    assert found.reason == "empty"
    assert "OCR" in found.detail


@pytest.mark.parametrize("data", [b"", b"%PDF-1.4 garbage", make_pdf("text")[:200], b"hello"])
def test_a_damaged_pdf_is_broken(data: bytes, caplog: pytest.LogCaptureFixture):
    found = parse_pdf(data)
    assert isinstance(found, Unreadable)
    assert found.reason == "broken"
    assert not caplog.records


def test_an_encrypted_pdf_is_broken():
    from io import BytesIO

    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(BytesIO(make_pdf("secret"))))
    writer.encrypt("password", algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    found = parse_pdf(out.getvalue())
    assert isinstance(found, Unreadable)
    assert found.reason == "broken"


def test_the_suffix_decides_and_unknown_ones_are_text():
    assert parse(b"# Head", suffix=".MD") == Parsed("Head", "Head", (Block("heading", 0, 4, 1),))
    assert parse(b"# Head", suffix=".rst") == Parsed(None, "# Head")


def test_a_file_without_a_title_is_named_by_its_name():
    assert file_title(PurePath("guides/getting-started_now.md")) == "getting started now"


markup = st.lists(
    st.sampled_from(
        [
            *("<div>", "</p>", "<pre>", "<td>", "<!--", "<br/>", "&amp;", "text", " ", "\n", "\r"),
            *(
                "# ",
                "- ",
                "1. ",
                "> ",
                "```",
                "|a|b|\n|-|-|\n",
                "[x](y)",
                "![",
                "---\n",
                "title: x",
            ),
        ]
    )
).map("".join)


@given(
    data=st.one_of(st.binary(max_size=200), markup.map(str.encode)),
    suffix=st.sampled_from([".md", ".html", ".txt", ".pdf"]),
)
def test_no_bytes_stop_the_reading_and_every_text_is_normalised(data: bytes, suffix: str):
    found = parse(data, suffix=suffix)
    if isinstance(found, Parsed):
        assert found.text == normalise(found.text)
        assert found.title is None or found.title == " ".join(found.title.split()) != ""
    else:
        assert found.detail
