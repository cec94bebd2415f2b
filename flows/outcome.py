"""What a run of a flow came to, for its state, its name and the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Word = Literal["PROMOTE", "HOLD", "REJECT", "UNCHANGED"]

EXIT_CODES: dict[Word, int] = {"PROMOTE": 0, "UNCHANGED": 0, "HOLD": 3, "REJECT": 4}
"""Of the command line; 1 is a failure and 2 is bad input."""

STATE_NAMES: dict[Word, str] = {
    "PROMOTE": "Promoted",
    "HOLD": "Held",
    "REJECT": "Rejected",
    "UNCHANGED": "Unchanged",
}
"""How Prefect names the final state: the verdict is seen in the list of runs."""

STAGED = "Staged"
"""The same for a PROMOTE that went to staging, where production takes only what that runs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a nightly run.

    Attributes:
        verdict: of the gate, or UNCHANGED when the wanted release is live already.
        release: label of the wanted release.
        message: one sentence.
        promoted: whether the champion moved.
        staged: whether the decision brought the release to staging, in this run or before.
        reasons: of the gate.
        embedded: chunks that were embedded.
        changed_documents: documents that were added, changed or removed.
        decision: digest; None when nothing was to decide.
        page: the HTML report.
    """

    verdict: Word
    release: str
    message: str
    promoted: bool = False
    staged: bool = False
    reasons: tuple[str, ...] = ()
    embedded: int = 0
    changed_documents: int = 0
    decision: str | None = None
    page: Path | None = None

    @property
    def state_name(self) -> str:
        """How Prefect names the final state."""
        return STAGED if self.staged else STATE_NAMES[self.verdict]


def verdict_of(state_name: str) -> Word:
    """The verdict of a run whose final state has this name."""
    if state_name == STAGED:
        return "PROMOTE"
    return next(word for word, name in STATE_NAMES.items() if name == state_name)
