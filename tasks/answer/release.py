"""Release: the prompt, index, model and retrieval parameters that answer together or not at all."""

from tasks.answer.prompt import PromptVersion
from tasks.config import Chunking, IndexSettings, Retrieval, Settings
from tasks.digest import SHORT, Digest, digest
from tasks.serve.version import ModelVersion


class Release(Settings):
    """Everything that decides what a question is answered with; immutable, named by its digest."""

    prompt: PromptVersion
    model: ModelVersion
    retrieval: Retrieval
    reranker_digest: Digest | None = None
    """Of the model that `retrieval.rerank` names."""
    index_digest: Digest
    corpus_digest: Digest
    """The snapshot that the index was built from."""
    chunking: Chunking
    embedding: str
    embedding_digest: Digest
    index_settings: IndexSettings = IndexSettings()

    @property
    def digest(self) -> Digest:
        """Identity: of the content, so that renaming a file makes no new release."""
        return digest(
            "release",
            1,
            {
                "prompt": self.prompt.digest,
                "model": self.model.digest,
                "retrieval": self.retrieval.parameters(),
                "reranker": self.reranker_digest,
                "index": self.index_digest,
            },
        )

    @property
    def label(self) -> str:
        """What people see: the prompt's name and the start of the digest."""
        return f"{self.prompt.name}@{self.digest[:SHORT]}"

    def differences(self, other: "Release") -> tuple[str, ...]:
        """Names of the parts in which two releases differ: prompt, model, retrieval, index."""
        parts = {
            "prompt": self.prompt.digest != other.prompt.digest,
            "model": self.model.digest != other.model.digest,
            "retrieval": (self.retrieval.parameters(), self.reranker_digest)
            != (other.retrieval.parameters(), other.reranker_digest),
            "index": self.index_digest != other.index_digest,
        }
        return tuple(name for name, differs in parts.items() if differs)

    def with_part(self, part: str, other: "Release") -> "Release":
        """This release with one part of another: prompt, model, retrieval or index."""
        fields = {
            "prompt": ("prompt",),
            "model": ("model",),
            "retrieval": ("retrieval", "reranker_digest"),
            "index": (
                "index_digest",
                "corpus_digest",
                "chunking",
                "embedding",
                "embedding_digest",
                "index_settings",
            ),
        }[part]
        return self.model_copy(update={name: getattr(other, name) for name in fields})

    def serves_otherwise(self, other: "Release") -> bool:
        """Whether only the way of serving differs: the same weights with other server flags."""
        mine, its = (
            each.model.model_copy(update={"name": "", "server_flags": {}, "context_length": 0})
            for each in (self, other)
        )
        known = self.model.sha256 is not None
        return known and mine == its and self.differences(other) == ("model",)

    def refreshes(self, other: "Release") -> bool:
        """Whether only the documents differ: the same recipe on a newer corpus."""
        return (
            self.differences(other) == ("index",)
            and self.chunking == other.chunking
            and self.embedding_digest == other.embedding_digest
            and self.index_settings == other.index_settings
        )
