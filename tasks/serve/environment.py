"""Where the serving environment is, and what its processes may see of the network."""

import os
from collections.abc import Mapping
from pathlib import Path

from tasks.errors import SetupError

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # Progress bars rewrite one line, which a log file can't.
    "TQDM_DISABLE": "1",
}
"""Weights are on the disk already, so nothing here needs the network, and nothing calls home."""


def serving_python(project: Path | None = None) -> Path:
    """The Python of the serving environment, `.venv-serve` beside the project's own.

    Args:
        project: the project's root; default: where this package is installed from.

    Raises:
        SetupError: there is none.
    """
    configured = os.environ.get("RATCHET_SERVING_PYTHON")
    root = project or Path(__file__).resolve().parents[2]
    python = Path(configured) if configured else root / ".venv-serve" / "bin" / "python"
    if not python.exists():
        raise SetupError(
            f"There is no serving environment: {str(python)!r} doesn't exist.",
            next_step="make setup   (or set RATCHET_SERVING_PYTHON to a Python that has vLLM)",
        )
    return python


def serving_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, offline and quiet, with the user's own settings on top."""
    # Packages of another environment must not get in front of the serving environment's.
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return {**inherited, **OFFLINE, **extra}
