"""configs/corpus.yaml: which documents there are, and how far one is trusted."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.config.base import Settings


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
