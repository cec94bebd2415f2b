"""EvalLog -> one table with a row a case, and what lineage says about the suite."""

import json
from typing import TYPE_CHECKING, Any

from tasks.digest import SHORT
from tasks.evaluate.log import EvalLog

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput


def case_table(log: EvalLog) -> dict[str, list[Any]]:
    """Columns of the per-case table; a missing value is None and its reason is in `failures`."""
    values = {info.name: log.values(info.name) for info in log.manifest.measures}
    failures: dict[str, list[str]] = {}
    for row in log.failures:
        failures.setdefault(row.case_id, []).append(
            f"{row.measure}: {row.error_type}: {row.message}"
        )
    cases = log.cases
    table: dict[str, list[Any]] = {
        "case_id": [case.case_id for case in cases],
        "question": [case.question for case in cases],
        "answer": [result.answer.text if result.answer else None for result in log.results],
        "reference": [case.reference for case in cases],
    }
    for name, column in values.items():
        table[name] = [column.get(case.case_id) for case in cases]
    table["failures"] = ["; ".join(failures.get(case.case_id, [])) or None for case in cases]
    table["retrieved"] = [
        "\n".join(f"{p.rank}. {p.doc_id} ({p.score:.4g})" for p in result.retrieved)
        for result in log.results
    ]
    table["tags"] = [", ".join(case.tags) for case in cases]
    table["must_pass"] = [case.must_pass for case in cases]
    return table


def suite_lineage(log: EvalLog) -> "DatasetInput":
    """The suite as MLflow's dataset: name, digest, columns and size, without its rows."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = ("case_id", "question", "reference", "gold", "tags")
    return DatasetInput(
        dataset=Dataset(
            name=log.manifest.suite_name,
            digest=log.manifest.suite_digest[:SHORT],
            source_type="ratchet",
            source=json.dumps({"suite_digest": log.manifest.suite_digest}),
            schema=json.dumps(
                {"mlflow_colspec": [{"type": "string", "name": name} for name in columns]}
            ),
            profile=json.dumps(
                {
                    "num_rows": len(log.results),
                    "answerable": sum(case.answerable for case in log.cases),
                    "clusters": len({case.cluster for case in log.cases}),
                }
            ),
        ),
        tags=[InputTag(key="mlflow.data.context", value="evaluation")],
    )
