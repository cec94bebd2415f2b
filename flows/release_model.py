"""What MLflow runs to load a release. A copy is stored with each one, and nothing imports it."""

from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from pydantic import BaseModel

from flows.show import terminal_progress
from flows.steps.ask import AnsweringRelease
from flows.workspace import open_workspace
from registry.releases import parse_release


class Source(BaseModel):
    """A passage that the answer was made from."""

    doc_id: str
    title: str
    text: str
    score: float


class Answered(BaseModel):
    """What comes back for a question."""

    answer: str
    sources: list[Source]
    release: str


class ReleaseModel(PythonModel):
    """Answers questions in the project of the working directory, or of `RATCHET_PROJECT`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the release's index; an error names what isn't here."""
        file = Path(context.artifacts["release"])
        release = parse_release(file.read_bytes(), digest=file.stem, where=str(file))
        with terminal_progress() as progress:
            self._answering = AnsweringRelease(open_workspace(), release, progress)

    # MLflow takes the types of questions and answers from here, and leaves out the context.
    def predict(  # type: ignore[override]
        self, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[Answered]:
        """Answer each question; all of them at once."""
        release = self._answering.release.label
        return [
            Answered(
                answer=answer.text,
                sources=[
                    Source(doc_id=p.doc_id, title=p.title, text=p.text, score=p.score)
                    for p in passages
                ],
                release=release,
            )
            for answer, passages in self._answering.answer(model_input)
        ]


set_model(ReleaseModel())
