import json
from dataclasses import replace

from benchmarks.stub.respond import respond
from benchmarks.stub.server import StubServer
from tasks.evaluate.log import save_log
from tasks.serve.journal import MadeCall
from tests.evaluations import make_log, make_release


def test_an_evaluation_that_is_not_there_is_named(ratchet, project):
    shown = ratchet("replay", "abc123")
    assert shown.exit_code == 2
    assert "'abc123'" in shown.stderr


def stored(project, server) -> str:
    """An evaluation with one call, answered as the stub answers."""
    price = {"currency": "USD", "input_per_million": 1.0, "output_per_million": 2.0}
    tiny = {"format": "endpoint", "context_length": 2048, "price": price}
    project.edit("models", generators={"tiny": tiny})
    project.edit("services", vllm={"endpoint": server.url})
    log = make_log(make_release())
    model = make_release().model
    body = {"model": "tiny", "messages": [{"role": "user", "content": "how long"}]}
    call = MadeCall(
        key="k" * 64,
        model=model.digest,
        path="/v1/chat/completions",
        body=body,
        repeat=0,
        purpose="answer",
        position=0,
        text=respond(body),
        finish_reason="stop",
        input_tokens=1,
        output_tokens=1,
    )
    manifest = log.manifest.model_copy(
        update={"models": {model.digest: model}, "server": {"version": "1"}}
    )
    save_log(replace(log, manifest=manifest, calls=(call,)), project.home / "evals")
    return log.digest


def test_a_log_is_asked_again_and_the_first_difference_is_shown(ratchet, project):
    with StubServer(models=("tiny",)) as server:
        digest = stored(project, server)
        same = ratchet("replay", digest[:8])
        assert same.exit_code == 0, same.output
        assert "1 of 1 call answered the same" in same.stdout
        assert "server version: 1" in same.stdout
        server.respond = lambda body: "another answer"
        other = ratchet("replay", digest[:8], "--json")
    assert other.exit_code == 1
    first = json.loads(other.stdout)["first"]
    assert (first["number"], first["purpose"], first["now"]) == (1, "answer", "another answer")
