import pickle

from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus.document import Document, Problem, normalise


def test_line_ends_become_newlines_and_trailing_blanks_go():
    assert normalise("\n one \t\r\ntwo\r  three\u2028four  ") == "one\ntwo\n  three\nfour"


def test_a_long_run_of_blanks_takes_no_time():
    assert normalise("x" + " " * 3_000_000 + "y") == "x" + " " * 3_000_000 + "y"
    assert normalise("x" + "\t " * 3_000_000 + "\ny") == "x\ny"


def test_indentation_inside_a_text_is_kept():
    assert normalise("def f():\n    return 1") == "def f():\n    return 1"


def test_equal_looking_characters_become_equal():
    assert normalise("cafe\u0301") == "caf\u00e9"


def test_a_surrogate_without_a_partner_becomes_the_replacement_character():
    assert normalise("a\ud800b") == "a\ufffdb"
    assert normalise("\ud83d\ude00") == "\U0001f600"


@given(st.text())
def test_normalising_twice_changes_nothing_and_the_result_can_be_stored(text):
    once = normalise(text)
    assert normalise(once) == once
    assert once.encode().decode() == once


def document(**changes):
    fields = {"doc_id": "a", "title": "A", "text": "text", "metadata": {"source": "s"}}
    return Document(**fields | changes)


def test_the_digest_covers_every_field():
    digests = {
        document().digest,
        document(doc_id="b").digest,
        document(title="B").digest,
        document(text="other").digest,
        document(metadata={"source": "t"}).digest,
    }
    assert len(digests) == 5


def test_the_digest_does_not_depend_on_the_order_of_metadata():
    one = document(metadata={"source": "s", "path": "p"})
    other = document(metadata={"path": "p", "source": "s"})
    assert one.digest == other.digest


def test_the_digest_of_a_known_document_is_a_known_value():
    # A golden value: when it changes, every snapshot changes; bump _DOCUMENT_VERSION on purpose.
    assert document().digest == ("103a8c4c4a8dd4881fe9c7e8cc9816c04e5ff774bcc844da8696e985038b62ef")


def test_documents_and_problems_travel_between_processes():
    problem = Problem("s", "name", "empty", "The file has no text.")
    for row in (document(), problem):
        assert pickle.loads(pickle.dumps(row)) == row
