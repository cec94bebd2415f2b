"""A model's settings -> the immutable version of it that a release names."""

from tasks.config import GeneratorModel, Sampling, Settings
from tasks.digest import SHORT, Digest, digest
from tasks.serve.convert import CONVERTER_VERSION


class ModelVersion(Settings):
    """What is served: which bytes, how the server is started, how tokens are drawn."""

    name: str
    """As in configs/models.yaml."""
    sha256: Digest | None
    """Of the weights; None for an endpoint whose weights can't be seen."""
    form: str
    """How the weights reach the server: `directory`, `endpoint`, or `gguf-bf16-v1` (converted)."""
    context_length: int
    """Tokens of prompt and answer together."""
    server_flags: dict[str, str | int | float | bool]
    sampling: Sampling

    @property
    def digest(self) -> Digest:
        """Identity of this version; its price is not part of it."""
        return digest("model", 1, self.model_dump(mode="json"))

    @property
    def served_name(self) -> str:
        """The name under which only this version is served, `name@digest`."""
        return f"{self.name}@{self.digest[:SHORT]}"


def model_version(name: str, model: GeneratorModel) -> ModelVersion:
    """The version that these settings describe; nothing is read or downloaded.

    Args:
        name: the model's name in configs/models.yaml.
        model: its settings.
    """
    converted = f"gguf-bf16-v{CONVERTER_VERSION}"
    return ModelVersion(
        name=name,
        sha256=model.sha256,
        form=converted if model.format == "gguf" else model.format,
        context_length=model.context_length,
        server_flags=model.server_flags,
        sampling=model.sampling,
    )
