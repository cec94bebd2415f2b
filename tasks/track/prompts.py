"""PromptVersion -> MLflow's prompt registry: the same content is the same version there."""

import re
from typing import TYPE_CHECKING

from tasks.answer.prompt import PromptVersion
from tasks.digest import SHORT
from tasks.track.connection import connected

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST_TAG = "ratchet.digest"
_REFUSED = re.compile(r"[^\w.-]+", re.ASCII)


def register_prompt(prompt: PromptVersion, *, tracking_uri: str) -> int:
    """Make sure that MLflow shows this prompt.

    Returns:
        Its version number there; the one that it had before, if it was registered before.

    Raises:
        ServerUnavailable: MLflow doesn't answer.
    """
    with connected(tracking_uri) as client:
        return ensure_prompt(client, prompt)


def ensure_prompt(client: "MlflowClient", prompt: PromptVersion) -> int:
    """Find the version with this content, or add it."""
    name = registered_name(prompt)
    # MLflow hides prompts from a search of model versions unless it names their tag.
    found = client.search_model_versions(
        f"name = '{name}' AND tag.`mlflow.prompt.is_prompt` = 'true' "
        f"AND tag.`{DIGEST_TAG}` = '{prompt.digest}'",
        max_results=100,
    )
    if found:
        return min(int(version.version) for version in found)
    added = client.register_prompt(
        name,
        [{"role": message.role, "content": message.content} for message in prompt.messages],
        commit_message=prompt.digest[:SHORT],
        tags={DIGEST_TAG: prompt.digest},
    )
    return int(added.version)


def registered_name(prompt: PromptVersion) -> str:
    """Name in MLflow's registry, which takes letters, digits, `_`, `.` and `-`."""
    return _REFUSED.sub("_", prompt.name) or "prompt"
