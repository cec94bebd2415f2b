import re
from html.parser import HTMLParser

import pytest

from tasks.corpus.snapshot import CorpusDiff
from tasks.evaluate.retrieval import RetrievalChange
from tasks.report.html import decision_page

ALLOWED = {"href": re.compile(r"#[a-z]+\Z")}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}
VOID = {"meta", "br", "img", "input", "link", "hr"}


class Reader(HTMLParser):
    """Collects tags, attributes and visible text, and checks that tags nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.text.append(data)


@pytest.fixture(params=["promoted", "held", "first"])
def read(request) -> Reader:
    shown = request.getfixturevalue(request.param)
    reader = Reader(decision_page(shown.decision, shown.old, shown.new))
    assert reader.open == []
    return reader


def test_hostile_text_shows_as_text(read: Reader) -> None:
    assert "script" not in read.tags
    assert "img" not in read.tags
    assert "<script>alert('x')</script>" in "".join(read.text)
    assert not [name for _, name, _ in read.attributes if name.startswith("on")]


def test_the_page_loads_nothing_from_anywhere(read: Reader) -> None:
    for tag, name, value in read.attributes:
        if name in LOADING:
            assert ALLOWED["href"].match(value), (tag, name, value)
    policies = [v for tag, name, v in read.attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies
    assert not {"link", "iframe", "object", "embed", "base"} & set(read.tags)


def test_no_style_loads_anything(promoted) -> None:
    page = decision_page(promoted.decision, promoted.old, promoted.new)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_verdict_comes_first(read: Reader) -> None:
    words = " ".join(" ".join(read.text).split())
    assert words.startswith(("PROMOTE The", "HOLD The", "REJECT The"))
    assert words.index("Why") < words.index("Measures") < words.index("Cases")


def test_wins_and_losses_stand_side_by_side(promoted) -> None:
    page = decision_page(promoted.decision, promoted.old, promoted.new)
    wins = page[page.index('class="group won"') : page.index('class="group same"')]
    assert wins.count('<details class="case"') == 14
    assert "old answer 12" in wins
    assert "new answer 12" in wins
    assert "★ doc-12" in wins


def test_failures_are_all_there_with_what_the_model_said(held) -> None:
    page = decision_page(held.decision, held.old, held.new)
    section = page[page.index('id="failures"') :]
    assert "case-01" in section
    assert "case-39" in section
    assert "&lt;script&gt;" in section[section.index("<pre>") :]
    assert "What would settle it" in page


def test_a_first_release_shows_floors_instead_of_a_comparison(first) -> None:
    page = decision_page(first.decision, None, first.new)
    assert "The first release misses a floor." in page
    assert "at least 0.300" in page
    assert "<svg" not in page


def test_a_refresh_shows_retrieval_and_documents(promoted) -> None:
    page = decision_page(
        promoted.decision,
        promoted.old,
        promoted.new,
        retrieval=[RetrievalChange("R@4", 0.81234, 0.79, 40)],
        corpus_diff=CorpusDiff(added=("<b>new</b>",), changed=(), removed=("gone",)),
    )
    assert "0.812" in page
    assert "−0.022" in page
    assert "&lt;b&gt;new&lt;/b&gt;" in page


def test_equal_decisions_have_equal_pages(promoted) -> None:
    pages = {decision_page(promoted.decision, promoted.old, promoted.new) for _ in range(2)}
    assert len(pages) == 1
