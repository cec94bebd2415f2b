import json
import os
import venv
from pathlib import Path

import pytest

from tasks.config import PythonSource
from tasks.corpus.docstrings import read_docstrings
from tasks.corpus.document import Document, Problem, normalise
from tasks.errors import CorpusError

GREETER = {
    "__init__.py": '''
        """Greets people."""
        import os
        from greeter._inside import Polite, greet
        from greeter.loud import Loud
        print("a package may print while it is imported")
        __all__ = ["Polite", "greet", "Loud", "plain", "shows"]
        def plain(a, b=1, *, c="x"):
            """Greet without a word."""
        def silent():
            pass
        def shows(where=os.environ, token=object(), home="/home/somebody/somewhere"):
            """Greet with defaults of this machine."""
    ''',
    "_inside.py": '''
        class Base:
            def bow(self):
                """Bend forward."""
        class Polite(Base):
            """A polite greeter."""
            def __init__(self, name):
                """Name the person to greet."""
            @property
            def name(self):
                """Who is greeted."""
            def hidden(self):
                pass
            def _private(self):
                """Nobody's business."""
        def greet(name):
            """Say hello.

                Twice, when nobody answers.
            """
    ''',
    "loud.py": '''
        """Shouts."""
        from greeter._inside import Polite
        class Loud(Polite):
            """A loud greeter."""
            def bow(self):
                """Stay upright."""
    ''',
    "tests/__init__.py": "raise RuntimeError('the tests of a package are not imported')",
    "broken.py": "import module_that_nobody_has",
}


def write_package(site: Path, name: str, files: dict[str, str]) -> None:
    for path, text in files.items():
        lines = [line.removeprefix("        ") for line in text.splitlines()]
        target = site / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """An interpreter of its own with three odd packages installed."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    site = next(home.glob("lib/python*/site-packages"))
    write_package(site, "greeter", GREETER)
    write_package(site, "crasher", {"__init__.py": "'''Crashes.'''", "boom.py": CRASH})
    write_package(site, "sleeper", {"__init__.py": "import time; time.sleep(600)"})
    write_package(site, "quitter", {"__init__.py": "import sys; sys.exit('no')"})
    return home / "bin" / "python"


CRASH = "import os; os._exit(3)"


def read(*packages: str, python: Path | None = None, limit: int = 10_000, seconds: float = 60):
    source = PythonSource(kind="python", name="docs", packages=packages)
    rows = list(
        read_docstrings(source, max_document_bytes=limit, python=python, time_limit_s=seconds)
    )
    documents = {row.doc_id: row for row in rows if isinstance(row, Document)}
    return documents, [row for row in rows if isinstance(row, Problem)]


@pytest.fixture(scope="module")
def greeter(python):
    return read("greeter", python=python)


@pytest.fixture(scope="module")
def stdlib():
    return read("stdlib", limit=5_000_000)


def test_each_public_object_is_one_document_under_its_shortest_name(greeter):
    documents, _ = greeter
    assert sorted(documents) == [
        "greeter",
        "greeter.Loud",
        "greeter.Loud.bow",
        "greeter.Polite",
        "greeter.Polite.bow",
        "greeter.Polite.name",
        "greeter.greet",
        "greeter.loud",
        "greeter.plain",
        "greeter.shows",
    ]


def test_a_document_has_a_title_with_signature_and_says_where_it_is_from(greeter):
    documents, _ = greeter
    assert documents["greeter.plain"] == Document(
        "greeter.plain",
        "greeter.plain(a, b=1, *, c='x')",
        "Greet without a word.",
        {"source": "docs", "module": "greeter", "kind": "function"},
    )
    kinds = {row.doc_id: row.metadata["kind"] for row in documents.values()}
    assert kinds["greeter.loud"] == "module"
    assert kinds["greeter.Polite"] == "class"
    assert kinds["greeter.Polite.bow"] == "method"
    assert kinds["greeter.Polite.name"] == "property"


def test_a_class_includes_the_docstring_of_its_constructor(greeter):
    documents, _ = greeter
    assert documents["greeter.Polite"].text == "A polite greeter.\n\nName the person to greet."


def test_indentation_is_cleaned(greeter):
    documents, _ = greeter
    assert documents["greeter.greet"].text == "Say hello.\n\nTwice, when nobody answers."


def test_a_title_never_shows_what_differs_between_machines(greeter):
    documents, _ = greeter
    assert documents["greeter.shows"].title == "greeter.shows(where=..., token=..., home=...)"


def test_missing_docstrings_are_counted_and_broken_modules_named(greeter):
    _, problems = greeter
    by_name = {problem.name: problem for problem in problems}
    assert by_name["greeter.broken"].reason == "broken"
    assert "module_that_nobody_has" in by_name["greeter.broken"].detail
    assert by_name["docs"].reason == "empty"
    assert by_name["docs"].detail == "1 of 9 public names have no docstring."
    assert len(problems) == 2


def test_a_package_that_cannot_be_imported_is_a_problem_and_the_others_are_read(python):
    documents, problems = read("nobody_has_this", "quitter", "greeter", python=python)
    assert "greeter.greet" in documents
    assert {"nobody_has_this", "quitter"} <= {
        problem.name for problem in problems if problem.reason == "broken"
    }


def test_a_module_that_kills_its_process_is_a_problem_and_the_others_are_read(python):
    documents, problems = read("crasher", "greeter", python=python)
    assert {"crasher", "greeter.greet"} <= set(documents)
    crash = next(problem for problem in problems if problem.name == "crasher.boom")
    assert crash.reason == "broken"
    assert "exit status 3" in crash.detail


def test_a_module_that_takes_too_long_is_a_problem_and_the_others_are_read(python):
    documents, problems = read("sleeper", "greeter", python=python, seconds=5)
    assert "greeter.greet" in documents
    slow = next(problem for problem in problems if problem.name == "sleeper")
    assert "longer than 5 s" in slow.detail


def test_a_docstring_over_the_limit_is_a_problem_with_both_sizes(python):
    documents, problems = read("greeter", python=python, limit=30)
    assert "greeter.greet" not in documents
    large = next(problem for problem in problems if problem.name == "greeter.greet")
    assert (large.reason, large.source) == ("too_large", "docs")
    assert "39 bytes" in large.detail
    assert "30" in large.detail


def test_an_interpreter_that_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(CorpusError, match="no-python"):
        read("json", python=tmp_path / "no-python")


def test_the_caller_s_environment_is_not_shown_to_the_packages(python, monkeypatch):
    site = next(python.parent.parent.glob("lib/python*/site-packages"))
    spy = "import os, json; __doc__ = json.dumps(sorted(os.environ))"
    write_package(site, "spy", {"__init__.py": spy})
    monkeypatch.setenv("RATCHET_VLLM_API_KEY", "secret")
    documents, _ = read("spy", python=python)
    assert "RATCHET_VLLM_API_KEY" in os.environ
    assert "RATCHET_VLLM_API_KEY" not in json.loads(documents["spy"].text)


def test_the_standard_library_has_thousands_of_documents_under_the_names_users_write(stdlib):
    documents, _ = stdlib
    assert 4_000 < len(documents) < 9_000
    names = """
        builtins.sorted builtins.open builtins.str.join heapq.nsmallest json json.JSONDecoder
        collections.Counter.most_common collections.abc.Sequence os.getcwd os.path.join
        asyncio.run random.choice pathlib.Path.mkdir io.StringIO functools.reduce
        concurrent.futures.ThreadPoolExecutor xml.etree.ElementTree.parse
        importlib.metadata.version urllib.parse.urlencode threading.Lock
    """
    assert [name for name in names.split() if name not in documents] == []
    for prefix in ("posixpath.", "_", "this", "antigravity", "idlelib", "tkinter"):
        assert [name for name in documents if name.startswith(prefix)] == []


def test_built_in_names_have_the_title_that_a_user_would_write(stdlib):
    documents, _ = stdlib
    title = documents["builtins.sorted"].title
    assert title == "sorted(iterable, /, *, key=None, reverse=False)"


def test_the_title_of_a_method_is_what_a_caller_writes(stdlib):
    documents, _ = stdlib
    assert documents["random.choice"].title == "random.choice(seq)"
    most_common = documents["collections.Counter.most_common"]
    assert most_common.title == "collections.Counter.most_common(n=None)"


def test_reading_twice_gives_the_same_normalised_documents_in_the_same_order(stdlib):
    documents, _ = stdlib
    again, _ = read("stdlib", limit=5_000_000)
    assert again == documents
    assert list(documents) == list(again)
    assert list(documents) == sorted(documents, key=lambda name: (name.count("."), name))
    assert all(row.text == normalise(row.text) != "" for row in documents.values())
    assert all(len(row.title) < 250 for row in documents.values())
