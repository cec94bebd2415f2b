"""The MLflow experiment that holds evaluations and releases."""

from typing import TYPE_CHECKING

from tasks.errors import Terminal

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOTE = """Evaluations of RAG releases. One run is one release on one suite.

- **Compare** runs with the same `suite` and `judge` parameters: select them, then *Compare*.
- Means are under the measures' own names; `ci/...` holds the ends of their 95 % intervals.
- `cases.json` has every case; *Traces* shows some with their passages, half of them the same in
  every run of a suite.
- Runs named *re-index* have the report of a new index and how it compares with the live one.
- The tags `decision.*` say what the gate made of a run.
"""

_EXPERIMENT_TAGS = {
    "mlflow.note.content": _NOTE,
    # Else the page asks what kind of experiment this is.
    "mlflow.experimentKind": "genai_development",
}


def ensure_experiment(client: "MlflowClient", name: str) -> str:
    """Id of the experiment; made with a note that explains it when it isn't there."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, tags=_EXPERIMENT_TAGS))
        except MlflowException:
            # Another process made it in between; anything else shows up again right here.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise Terminal(
            f"MLflow's experiment {name!r} was deleted.",
            next_step=f"Restore it (mlflow experiments restore -x {found.experiment_id}), or "
            "name another one under mlflow.experiment in configs/services.yaml.",
        )
    return str(found.experiment_id)
