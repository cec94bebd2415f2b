"""A served model -> what the record says of it, and whether it is still the same."""

from collections.abc import Callable

from flows.addresses import served_elsewhere
from flows.workspace import Workspace
from tasks.serve.canary import compare_or_keep, model_changed, sing
from tasks.serve.client import ModelClient
from tasks.serve.label import calling

Warn = Callable[[str], None]
"""Told one line that a person should read."""


async def describe_server(workspace: Workspace, door: ModelClient) -> dict[str, str]:
    """What a repetition needs to know of the server beside the model's flags.

    Of the environment only vLLM's own variables, and none that may hold a secret.
    """
    service = workspace.project.services.vllm
    version = await door.server_version()
    own = not served_elsewhere(workspace.project, door.version.name)
    variables = {
        name: value
        for name, value in (service.environment if own else {}).items()
        if name.startswith("VLLM_") and not name.endswith(("KEY", "TOKEN"))
    }
    return variables | ({"version": version} if version is not None else {})


async def check_canary(workspace: Workspace, door: ModelClient, warn: Warn) -> None:
    """Make sure that a served model answers as it did when it was first seen under its name.

    Each of its servers is asked, and held against the same answers.

    Raises:
        ModelChanged: it doesn't, and `canary` in configs/evaluate.yaml is `stop`.
    """
    mode = workspace.project.evaluate.canary
    if mode == "off":
        return
    path = workspace.home.path("canary", f"{door.version.digest}.json")
    for url in door.urls:
        with calling(avoided=frozenset(door.urls) - {url}):
            changes = compare_or_keep(await sing(door), path)
        if not changes:
            continue
        error = model_changed(door.version, changes, path, url=url)
        if mode == "stop":
            raise error
        warn(str(error))
