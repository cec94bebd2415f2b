"""Every error that Ratchet raises on purpose.

RatchetError
├── BadInput                 the user can fix it; exit code 2, never retried
│   ├── ConfigError          a file under configs/ is wrong
│   ├── CorpusError          a corpus source can't be read at all
│   ├── SuiteError           a suite is malformed or doesn't fit the corpus
│   ├── ScoresError          scores that the gate can't compare
│   └── RegistryError        an unknown release, a promotion that isn't allowed
├── Terminal                 it won't get better by trying again; exit code 1
│   ├── SetupError           the machine lacks something
│   ├── WrongModel           the server serves another model than the release names
│   ├── CorruptArtifact      bytes on disk don't match their digest
│   ├── ModelChanged         the server's model answers otherwise than it did under this name
│   ├── BudgetSpent          the next model call would cost more than the budget has
│   └── TooManyFailures      an evaluation stopped because its server is gone
└── Transient                trying again may help; exit code 1, Prefect retries
    ├── ServerUnavailable    vLLM, MLflow, Prefect, PostgreSQL or a store doesn't answer
    ├── CallFailed           one model call failed after its retries
    └── PromotionConflict    another promotion won the race
"""

from typing import Any


class RatchetError(Exception):
    """Base class. `message` says what happened with which value and what was expected.

    Args:
        message: what happened, the value, what was expected.
        next_step: the command to run or the line to change; shown on its own line.
        values: anything a program may want back, kept as attributes.
    """

    exit_code = 1

    def __init__(self, message: str, *, next_step: str = "", **values: Any) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.values = values

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("values", {})
        if name in values:
            return values[name]
        raise AttributeError(name)

    def __str__(self) -> str:
        return f"{self.message}\nNext: {self.next_step}" if self.next_step else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.next_step, self.values))


def _rebuild(
    cls: type[RatchetError], message: str, next_step: str, values: dict[str, Any]
) -> RatchetError:
    return cls(message, next_step=next_step, **values)


class BadInput(RatchetError):
    """The user can fix it; nothing was changed."""

    exit_code = 2


class Terminal(RatchetError):
    """Trying again won't help."""


class Transient(RatchetError):
    """Trying again may help; Prefect retries these and nothing else."""


class ConfigError(BadInput):
    """A configuration file is missing, malformed or contradicts itself."""


class CorpusError(BadInput):
    """A corpus source can't be read at all (single bad documents are reported, not raised)."""


class SuiteError(BadInput):
    """A suite is malformed or doesn't fit the corpus."""


class ScoresError(BadInput):
    """Scores that can't be compared: other cases, duplicates, unknown measures."""


class RegistryError(BadInput):
    """An unknown or ambiguous release, or a promotion that isn't allowed."""


class SetupError(Terminal):
    """The machine lacks something that Ratchet needs."""


class WrongModel(Terminal):
    """The server serves another model than the release names."""


class CorruptArtifact(Terminal):
    """Bytes on disk don't match the digest that they are named by."""


class ModelChanged(Terminal):
    """A served model doesn't answer as it did under the same name."""


class BudgetSpent(Terminal):
    """A limit on money is reached; what was answered is kept."""


class TooManyFailures(Terminal):
    """An evaluation stopped because its failure rate says that the server is gone."""


class ServerUnavailable(Transient):
    """vLLM, MLflow, Prefect, the ledger's PostgreSQL or a store of indexes doesn't answer."""


class CallFailed(Transient):
    """One model call failed after its retries."""


class PromotionConflict(Transient):
    """The champion changed while this promotion was on its way."""
