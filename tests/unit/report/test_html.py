import re
from html.parser import HTMLParser

import pytest
from markupsafe import escape

from tasks.corpus.digests import CorpusDiff
from tasks.gate.retrieval import RetrievalTest
from tasks.report import numbers
from tasks.report.html import decision_page

INSIDE = re.compile(r"#[a-z]+(-[0-9]+)?\Z")
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


@pytest.fixture(params=["promoted", "held", "first", "plain"])
def read(request) -> Reader:
    reader = Reader(request.getfixturevalue(request.param).page())
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
            assert INSIDE.match(value), (tag, name, value)
    policies = [v for tag, name, v in read.attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies
    assert not {"link", "iframe", "object", "embed", "base"} & set(read.tags)


def test_every_link_leads_to_a_place_on_the_page(read: Reader) -> None:
    places = [value for _, name, value in read.attributes if name == "id"]
    assert len(set(places)) == len(places)
    links = {value for _, name, value in read.attributes if name == "href"}
    assert {link.removeprefix("#") for link in links} <= set(places)


def test_no_text_turns_the_direction_of_the_words_after_it(read: Reader) -> None:
    assert "\u202e" not in "".join(read.text)


def test_no_style_loads_anything(promoted) -> None:
    page = promoted.page()
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_verdict_comes_first(read: Reader) -> None:
    words = " ".join(" ".join(read.text).split())
    assert words.startswith(("PROMOTE The", "HOLD The", "REJECT The"))
    assert words.index("Why") < words.index("Checks") < words.index("Cases")


def test_wins_and_losses_stand_side_by_side(promoted) -> None:
    page = promoted.page()
    wins = page[page.index('class="group won"') : page.index('class="group same"')]
    assert wins.count('<details class="case"') == 14
    assert "old answer 12" in wins
    assert "new answer 12" in wins
    assert "★ doc-12" in wins


def test_won_and_lost_cases_link_to_what_was_answered(promoted) -> None:
    page = promoted.page()
    cases = page[page.index('id="cases"') :]
    links = re.findall(r'href="#(case-\d+)">([^<]+)</a>', cases[: cases.index("Sorted by")])
    assert len(links) == 40
    place = {name: place for place, name in links}["case-12"]
    _, case = page.split(f'id="{place}"')
    assert case.index("new answer 12") < case.index('id="case-')


def test_failures_are_all_there_with_what_the_model_said(held) -> None:
    page = held.page()
    section = page[page.index('id="failures"') :]
    assert "case-01" in section
    assert "case-39" in section
    assert "&lt;script&gt;" in section[section.index("<pre>") :]
    assert "What would settle it" in page


def test_what_a_machine_was_used_for_is_in_the_cost_of_both_sides_and_of_the_decision(
    promoted,
) -> None:
    page = promoted.page()
    effort = page[page.index('id="effort"') :]
    # A side has one purpose: its row, its total, and both together.
    assert effort.count("7.5 min") == 4
    assert effort.count("15.0 min") == 1


def test_a_first_release_shows_floors_instead_of_a_comparison(first) -> None:
    page = first.page()
    assert "The first release misses a floor." in page
    assert "at least 0.300" in page
    assert "<svg" not in page


def test_a_refresh_shows_retrieval_and_documents(promoted) -> None:
    row = promoted.decision.comparisons[0].model_copy(
        update={
            "measure": "R@4",
            "kind": "bounded",
            "mean_champion": 0.81234,
            "mean_challenger": 0.79,
            "delta": -0.02234,
            "outcome": "not_worse",
        }
    )
    page = decision_page(
        promoted.decision,
        promoted.old,
        promoted.new,
        retrieval=[RetrievalTest(questions="probes", comparison=row, could_pass=True)],
        corpus_diff=CorpusDiff(added=("<b>new</b>",), changed=(), removed=("gone",)),
    )
    assert "0.812" in page
    assert "−0.022" in page
    assert "probes" in page
    assert "no worse" in page
    assert "&lt;b&gt;new&lt;/b&gt;" in page


def test_equal_decisions_have_equal_pages(promoted) -> None:
    pages = {promoted.page() for _ in range(2)}
    assert len(pages) == 1


def test_every_check_shows_its_sentence_its_status_and_its_technical_line(held) -> None:
    page = held.page()
    section = page[page.index('id="checks"') : page.index('id="measures"')]
    for check in held.decision.checks:
        assert escape(check.text) in section
        assert escape(check.detail) in section
    assert section.count('<li class="passed">') == 4
    assert section.count('<li class="hold">') == 2
    assert section.count('<li class="not_checked">') == 4
    assert section.count("not checked</span>") == 4


def test_a_page_of_scores_leaves_out_what_needs_answers(plain) -> None:
    reader = Reader(plain.page())
    places = {value for _, name, value in reader.attributes if name == "id"}
    assert "effort" not in places
    assert {"why", "checks", "measures", "anchor", "changes", "cases", "slices"} <= places
    page = plain.page()
    assert "Spent on the challenger" not in page
    assert "Median latency" not in page
    lost = page[page.index('class="group lost"') : page.index('class="group won"')]
    assert lost.count('<tr id="case-') == 10
    row = lost[lost.index("case-03") :]
    assert row.index("pass") < row.index("fail") < row.index("f1 0.500 → 0.450")


def test_an_anchor_has_a_forest_of_its_own(plain, promoted) -> None:
    page = plain.page()
    section = page[page.index('<section id="anchor">') : page.index('<section id="changes">')]
    assert section.count("<svg") == 2
    assert "−0.250" in section
    assert 'id="anchor"' not in promoted.page()


def test_slices_show_bounds_that_hold_for_all_of_them(plain, promoted) -> None:
    page = plain.page()
    section = page[page.index('<section id="slices">') : page.index('<section id="failures">')]
    for row in plain.decision.slices:
        assert numbers.between("binary", "higher", row.low, row.high) in section
    assert section.count(">lost</span>") == 1
    assert section.count(">not lost</span>") == 1
    assert "hold for all of these tags at once" not in promoted.page()


def test_each_of_several_changes_says_whether_it_helped(plain, promoted) -> None:
    page = plain.page()
    section = page[page.index('<section id="changes">') : page.index('<section id="cases">')]
    for word in ("helped", "hurt", "not shown"):
        assert section.count(f">{word}</span>") == 1
    assert "+50.0 points" in section
    assert '<span class="bad">f1</span>' in section
    assert 'id="changes"' not in promoted.page()


def test_what_is_left_of_alpha_is_drawn_where_a_look_was_spent(plain, first) -> None:
    page = plain.page()
    assert "earlier looks <b>0.0380</b>" in page
    assert "this look <b>0.00338</b>" in page
    assert "left <b>0.00863</b>" in page
    assert 'class="budget"' not in first.page()


def test_a_measure_without_a_vote_that_moved_is_marked(plain, promoted) -> None:
    assert '<span class="pill moved">moved</span>' in plain.page()
    assert '<span class="pill moved">' not in promoted.page()


def test_each_interval_is_named_by_its_own_level(promoted) -> None:
    page = promoted.page()
    assert "93.9 % interval of correct, 90 % of the others" in page
