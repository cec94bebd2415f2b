"""A run's name says what it came to, so that the list of runs can be read without opening one."""

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run


def rename_run(name: str) -> None:
    """Rename the current flow run; nothing outside a run."""
    if flow_run.id is None:
        return
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=name)
