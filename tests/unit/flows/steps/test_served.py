import pytest

from benchmarks.stub.server import StubServer
from flows.steps.served import check_canary, describe_server
from flows.workspace import open_workspace
from tasks.config import GeneratorModel, Price
from tasks.errors import ModelChanged
from tasks.serve.client import ModelClient
from tasks.serve.version import model_version

PRICE = Price(input_per_million=1.0, output_per_million=2.0)


async def test_the_record_of_a_server_has_its_version_and_no_secret(project, workspace):
    project.edit(
        "services",
        vllm={
            "environment": {
                "VLLM_BATCH_INVARIANT": "1",
                "VLLM_API_KEY": "secret",
                "PATH": "/somewhere",
            }
        },
    )
    price = {"machine_hour": 1.0}
    stub = {"format": "endpoint", "context_length": 512, "price": price}
    project.edit("models", generators={"stub": stub})
    changed = open_workspace()
    version = model_version(
        "stub", GeneratorModel(format="endpoint", context_length=512, price=PRICE)
    )
    with StubServer() as server:
        async with ModelClient(server.url, version, PRICE, cache=None) as door:
            described = await describe_server(changed, door)
    assert described == {"VLLM_BATCH_INVARIANT": "1", "version": "0.32.0+stub"}


@pytest.mark.parametrize("mode", ["stop", "report", "off"])
async def test_a_changed_model_stops_is_reported_or_is_not_looked_for(project, mode):
    project.edit("evaluate", canary=mode)
    changed = open_workspace()
    version = model_version(
        "stub", GeneratorModel(format="endpoint", context_length=512, price=PRICE)
    )
    said: list[str] = []
    with StubServer() as server:
        server.respond = lambda body: "first"
        async with ModelClient(server.url, version, PRICE, cache=None) as door:
            await check_canary(changed, door, said.append)
            server.respond = lambda body: "quite another one"
            if mode == "stop":
                with pytest.raises(ModelChanged, match="doesn't answer as it did"):
                    await check_canary(changed, door, said.append)
            else:
                await check_canary(changed, door, said.append)
        assert bool(server.requests) == (mode != "off")
    assert len(said) == (mode == "report")
