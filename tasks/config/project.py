"""All of configs/, read and checked at once."""

from pathlib import Path

from tasks.config.base import Settings, load_settings
from tasks.config.corpus import CorpusSettings
from tasks.config.evaluate import EvaluateSettings
from tasks.config.models import ModelsSettings
from tasks.config.release import ReleaseSettings
from tasks.config.services import ServicesSettings
from tasks.errors import ConfigError


class Project(Settings):
    """Everything under configs/, read and checked at once."""

    root: Path
    corpus: CorpusSettings
    models: ModelsSettings
    release: ReleaseSettings
    evaluate: EvaluateSettings
    services: ServicesSettings

    @property
    def prompts(self) -> Path:
        """Directory of prompt files."""
        return self.root / "configs" / "prompts"

    @property
    def gate_policy(self) -> Path:
        """The gate's policy file."""
        return self.root / "configs" / "gate.yaml"


def load_project(root: Path, *, release: Path | None = None) -> Project:
    """Read every configuration file of a project.

    Args:
        root: directory that holds `configs/`.
        release: another file than `configs/release.yaml`.

    Raises:
        ConfigError: a file is missing or wrong, or names something that isn't there.
    """
    configs = root / "configs"
    project = Project(
        root=root,
        corpus=load_settings(configs / "corpus.yaml", CorpusSettings),
        models=load_settings(configs / "models.yaml", ModelsSettings),
        release=load_settings(release or configs / "release.yaml", ReleaseSettings),
        evaluate=load_settings(configs / "evaluate.yaml", EvaluateSettings),
        services=load_settings(configs / "services.yaml", ServicesSettings),
    )
    project.models.generator(project.release.model)
    project.models.generator(project.evaluate.judge.model)
    if project.release.retrieval.rerank is not None:
        project.models.reranker(project.release.retrieval.rerank)
    embedding = project.models.embedding(project.release.embedding)
    if project.release.chunking.max_tokens > embedding.max_tokens:
        raise ConfigError(
            f"chunking.max_tokens is {project.release.chunking.max_tokens}, but "
            f"{project.release.embedding!r} reads at most {embedding.max_tokens} tokens.",
            next_step="Lower chunking.max_tokens in configs/release.yaml.",
        )
    return project
