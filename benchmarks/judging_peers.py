"""deepeval and promptfoo on the cases of P5 and P7, against the same stub, with telemetry off."""

import asyncio
import contextlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT
from benchmarks.judging import URL
from benchmarks.stub.server import MODEL
from tasks.evaluate.measures.base import CaseResult

PROMPTFOO = ROOT / ".ratchet" / "peers-npm" / "node_modules" / ".bin" / "promptfoo"
"""Where the Makefile installs it, if there is an npm."""
RUBRICS = ("Is the response correct?", "Does the response leave nothing out?")


@dataclass(frozen=True, slots=True)
class Judged:
    """What one run took, and how many values it has not."""

    seconds: float
    lost: int


def has_deepeval() -> bool:
    """Whether deepeval can be imported here."""
    return find_spec("deepeval") is not None


def promptfoo_version() -> str | None:
    """Its version; None where it isn't installed, as without npm."""
    package = PROMPTFOO.parents[1] / "promptfoo" / "package.json"
    if not package.is_file() or shutil.which("node") is None:
        return None
    return str(json.loads(package.read_text())["version"])


def judge_by_deepeval(results: Sequence[CaseResult], *, workers: int) -> Judged:
    """Judge with `deepeval.evaluate`: its four measures of the same names, and two of GEval.

    Its model is one of the kind that its manual shows for vLLM: schemas go out as structured
    outputs.

    Args:
        results: the cases.
        workers: test cases at one time; 20 is deepeval's own number.
    """
    os.environ |= {
        "DEEPEVAL_TELEMETRY_OPT_OUT": "1",
        "DEEPEVAL_DISABLE_TIMEOUTS": "1",
        "DEEPEVAL_DISABLE_DOTENV": "1",
        "DEEPEVAL_NO_INSPECT_PROMPT": "1",
    }
    import warnings

    warnings.simplefilter("ignore")
    import deepeval
    from deepeval.evaluate import AsyncConfig, CacheConfig, DisplayConfig, ErrorConfig
    from deepeval.metrics import (
        AnswerRelevancyMetric,
        ContextualPrecisionMetric,
        ContextualRecallMetric,
        FaithfulnessMetric,
        GEval,
    )
    from deepeval.test_case import LLMTestCase, SingleTurnParams

    common: dict[str, Any] = {"model": _structured_model(), "include_reason": False}
    asked = [
        SingleTurnParams.INPUT,
        SingleTurnParams.ACTUAL_OUTPUT,
        SingleTurnParams.EXPECTED_OUTPUT,
    ]
    metrics = [
        FaithfulnessMetric(**common),
        AnswerRelevancyMetric(**common),
        ContextualPrecisionMetric(**common),
        ContextualRecallMetric(**common),
        *(
            # Steps are given, so that no call is spent on inventing them.
            GEval(
                name=text,
                evaluation_steps=[text],
                evaluation_params=asked,
                model=common["model"],
            )
            for text in RUBRICS
        ),
    ]
    cases = [
        LLMTestCase(
            input=result.case.question,
            actual_output=result.answer.text if result.answer else "",
            expected_output=result.case.reference or "",
            retrieval_context=[passage.text for passage in result.retrieved],
        )
        for result in results
    ]
    # It leaves a folder where it runs, and prints every case.
    with (
        tempfile.TemporaryDirectory() as directory,
        contextlib.chdir(directory),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        began = time.perf_counter()
        found = deepeval.evaluate(
            cases,
            metrics,
            async_config=AsyncConfig(max_concurrent=workers),
            display_config=DisplayConfig(
                show_indicator=False, print_results=False, inspect_after_run=False
            ),
            cache_config=CacheConfig(write_cache=False),
            error_config=ErrorConfig(ignore_errors=True),
        )
        seconds = time.perf_counter() - began
    rows = [row for result in found.test_results for row in result.metrics_data or []]
    values = sum(row.score is not None for row in rows)
    return Judged(seconds, len(results) * len(metrics) - values)


def _structured_model() -> Any:
    import httpx
    from deepeval.models import DeepEvalBaseLLM
    from openai import AsyncOpenAI

    base: Any = DeepEvalBaseLLM

    class Structured(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.clients: dict[int, AsyncOpenAI] = {}
            super().__init__(MODEL)

        def load_model(self) -> Any:
            return self

        def get_model_name(self) -> str:
            return MODEL

        def generate(self, prompt: str, schema: Any = None) -> Any:
            return asyncio.run(self.a_generate(prompt, schema))

        async def a_generate(self, prompt: str, schema: Any = None) -> Any:
            loop = id(asyncio.get_running_loop())
            if loop not in self.clients:
                limits = httpx.Limits(max_connections=1_000)
                self.clients[loop] = AsyncOpenAI(
                    base_url=URL,
                    api_key="none",
                    http_client=httpx.AsyncClient(timeout=600, limits=limits),
                )
            form: dict[str, Any] = {}
            if schema is not None:
                described = {"name": schema.__name__, "schema": schema.model_json_schema()}
                form["response_format"] = {"type": "json_schema", "json_schema": described}
            answer = await self.clients[loop].chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": prompt}], temperature=0, **form
            )
            text = answer.choices[0].message.content or ""
            return text if schema is None else schema.model_validate_json(text)

    return Structured()


def judge_by_promptfoo(
    results: Sequence[CaseResult],
    *,
    workers: int | None = None,
    assertions: int | None = None,
    cache: Path | None = None,
) -> Judged:
    """Judge with `promptfoo eval`: faithfulness, answer relevance, context recall and relevance.

    And two rubrics. It has no context precision: context relevance stands in its place.

    Args:
        results: the cases.
        workers: `--max-concurrency`; None: its own, 4.
        assertions: of one case at one time; None: its own, 3.
        cache: where it keeps answers; None: it asks everything.

    Returns:
        Its own time of the evaluation, without the start of node.
    """
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        (directory / "words.js").write_text(_WORDS)
        config = directory / "config.json"
        config.write_text(json.dumps(promptfoo_config(results, directory / "words.js")))
        out = directory / "out.json"
        command = [str(PROMPTFOO), "eval", "--config", str(config), "--output", str(out)]
        command += ["--no-write", "--no-table", "--no-progress-bar"]
        command += [] if cache else ["--no-cache"]
        command += [] if workers is None else ["--max-concurrency", str(workers)]
        environment = os.environ | {
            "PROMPTFOO_DISABLE_TELEMETRY": "1",
            "PROMPTFOO_DISABLE_UPDATE": "1",
            "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
            "PROMPTFOO_DISABLE_SHARING": "1",
            "PROMPTFOO_CONFIG_DIR": str(directory / "state"),
            "PROMPTFOO_CACHE_PATH": str(cache or directory / "cache"),
            "OPENAI_API_KEY": "none",
        }
        if assertions is not None:
            environment["PROMPTFOO_ASSERTIONS_MAX_CONCURRENCY"] = str(assertions)
        began = time.perf_counter()
        done = subprocess.run(
            command, env=environment, cwd=directory, capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - began
        if not out.is_file():
            raise RuntimeError(
                f"promptfoo wrote nothing:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        said = json.loads(out.read_text())["results"]
    graded = [
        part
        for row in said["results"]
        for part in (row.get("gradingResult") or {}).get("componentResults") or []
    ]
    values = sum("score" in part and not _unread(part) for part in graded)
    own = said["stats"].get("durationMs")
    return Judged(own / 1000 if own else wall, len(results) * 6 - values)


def _unread(part: dict[str, Any]) -> bool:
    """Whether an assertion failed because it couldn't read its judge."""
    reason = str(part.get("reason", "")).lower()
    return any(word in reason for word in ("could not", "error", "no output"))


def promptfoo_config(results: Sequence[CaseResult], embedder: Path) -> dict[str, Any]:
    """What promptfoo is told; its answers are there already, so only judges are asked.

    Args:
        results: the cases.
        embedder: a provider of vectors that cost nothing.
    """
    connection = {"apiBaseUrl": URL, "apiKey": "none", "temperature": 0}
    judge = {"id": f"openai:chat:{MODEL}", "config": connection}
    mark = {
        "type": "object",
        "properties": {
            "reason": {"type": "string"},
            "pass": {"type": "boolean"},
            "score": {"type": "number"},
        },
    }
    form = {"type": "json_schema", "json_schema": {"name": "mark", "schema": mark}}
    marking = {"id": judge["id"], "config": {**connection, "response_format": form}}
    asserted: list[dict[str, Any]] = [
        {"type": "context-faithfulness", "threshold": 0.5, "provider": judge},
        {
            "type": "answer-relevance",
            "threshold": 0.5,
            "provider": {"text": judge, "embedding": f"file://{embedder}"},
        },
        {
            "type": "context-recall",
            "threshold": 0.5,
            "value": "{{reference}}",
            "provider": judge,
        },
        {"type": "context-relevance", "threshold": 0.5, "provider": judge},
        *({"type": "llm-rubric", "value": text, "provider": marking} for text in RUBRICS),
    ]
    return {
        "providers": ["echo"],
        "prompts": ["{{answer}}"],
        "defaultTest": {"assert": asserted},
        "tests": [
            {
                "vars": {
                    "query": result.case.question,
                    "answer": result.answer.text if result.answer else "",
                    "reference": result.case.reference or "",
                    "context": "\n\n".join(passage.text for passage in result.retrieved),
                }
            }
            for result in results
        ],
    }


_WORDS = """
module.exports = class {
  id() { return 'words'; }
  async callApi() { return { output: '' }; }
  async callEmbeddingApi(text) {
    const row = new Array(64).fill(1e-6);
    for (const word of String(text).split(/\\s+/)) row[word.length % 64] += 1;
    return { embedding: row };
  }
};
"""
