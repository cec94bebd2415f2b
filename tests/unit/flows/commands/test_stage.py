import json

import pytest

from tests.unit.flows.evaluations import POLICY, evaluated, registered


def test_the_corpus_stage_writes_what_dvc_compares(ratchet, project, tmp_path):
    out = tmp_path / "results" / "corpus.json"
    assert ratchet("stage", "corpus", "--out", str(out)).exit_code == 0
    first = out.read_bytes()
    written = json.loads(first)
    assert (written["documents"], written["left_out"]) == (3, {})
    assert len(written["corpus"]) == 64
    ratchet("stage", "corpus", "--out", str(out))
    assert out.read_bytes() == first


def test_the_index_stage_finds_the_index_that_is_there(ratchet, release, tmp_path):
    corpus, out = tmp_path / "corpus.json", tmp_path / "index.json"
    corpus.write_text(json.dumps({"corpus": release.corpus_digest}))
    assert ratchet("stage", "index", str(corpus), "--out", str(out)).exit_code == 0
    assert json.loads(out.read_text()) == {"index": release.index_digest, "chunks": 3}


def test_the_decide_stage_writes_the_verdict_and_the_plot_and_moves_nothing(
    ratchet, project, workspace, tmp_path
):
    (project.root / "configs" / "gate.yaml").write_text(POLICY)
    files = {}
    for name, number, right in (("baseline", 0, 20), ("candidate", 1, 45)):
        digest = evaluated(workspace, registered(workspace, number), right=right)
        files[name] = tmp_path / f"{name}.json"
        files[name].write_text(json.dumps({"evaluation": digest}))
    out, plot = tmp_path / "decision.json", tmp_path / "comparison.json"
    shown = ratchet(
        *("stage", "decide", str(files["baseline"]), str(files["candidate"])),
        *("--out", str(out), "--plot", str(plot)),
    )
    assert shown.exit_code == 0, shown.output
    written = json.loads(out.read_text())
    assert written["verdict"] == "PROMOTE"
    assert written["delta"]["answer_correct"] == pytest.approx(25 / 60, abs=1e-6)
    assert json.loads(plot.read_text())
    with workspace.registry() as registry:
        assert registry.champion() is None
        assert {event.kind for event in registry.history()} == {"registered"}


@pytest.mark.parametrize("content", [None, "not json", "[]", '{"other": 1}'])
def test_a_stage_without_the_result_of_the_one_before_says_so(ratchet, project, tmp_path, content):
    path = tmp_path / "corpus.json"
    if content is not None:
        path.write_text(content)
    shown = ratchet("stage", "index", str(path), "--out", str(tmp_path / "out.json"))
    assert shown.exit_code == 2
    assert "isn't the result of a stage that writes 'corpus'" in shown.stderr
    assert "dvc repro" in shown.stderr
    assert not (tmp_path / "out.json").exists()
