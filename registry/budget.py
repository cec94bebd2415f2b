"""Looks at a suite -> the level of the next: spent before its result is seen, never given back."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, Select, insert, select, update

from registry.catalog import Catalog
from registry.ledger import LOOKS
from tasks.digest import SHORT, Digest, digest
from tasks.errors import RegistryError
from tasks.gate.spending import Look, Spending, alpha_after, alpha_of, look_at

Verdict = Literal["PROMOTE", "HOLD", "REJECT"]


@dataclass(frozen=True, slots=True)
class LookId:
    """Names one look: looks are counted for each suite and judge."""

    suite: Digest
    judge: Digest
    number: int

    def __str__(self) -> str:
        return f"look {self.number} at suite {self.suite[:SHORT]} by judge {self.judge[:SHORT]}"


@dataclass(frozen=True, slots=True)
class SpentLook:
    """One look that the ledger holds."""

    suite: Digest
    judge: Digest
    look: Look
    """As it was when it was spent; later promotions don't change it."""
    rule: Spending
    challenger: Digest
    champion: Digest | None
    at: str
    """UTC, ISO 8601."""
    who: str
    decision: Digest | None
    """What the gate decided; None: nothing yet, or its process died before."""
    verdict: Verdict | None

    @property
    def id(self) -> LookId:
        """What `record_decision` calls it by."""
        return LookId(self.suite, self.judge, self.look.number)


@dataclass(frozen=True, slots=True)
class Budget:
    """What one suite has cost with one judge, and what is left of alpha under a rule."""

    suite: Digest
    judge: Digest
    looks: tuple[SpentLook, ...]
    spent: float
    """Sum of the levels of all looks."""
    left: float | None
    """Sum of the levels of all looks to come if none of them promotes; None: without limit."""
    next_alpha: float
    """Level of the next look."""


class AlphaLedger(Catalog):
    """The looks at each suite; two processes can't spend the same one."""

    def spend_look(
        self,
        *,
        suite: Digest,
        judge: Digest,
        policy_digest: Digest,
        challenger: str,
        champion: str | None,
        challenger_log: Digest,
        champion_log: Digest | None,
        context: Digest | None = None,
        rule: Spending,
        alpha: float,
        who: str,
    ) -> SpentLook:
        """Spend the next look at a suite; for the same evidence again, give back the same look.

        A process that dies between spending and deciding gets its look again when it is run again:
        nobody has seen the result. What was decided on it must then be used, not decided anew.

        Args:
            suite: the cases; other cases have a budget of their own.
            judge: what scored them.
            policy_digest: the rules of the decision.
            challenger: release under test.
            champion: release that it is compared with.
            challenger_log: the challenger's evaluation.
            champion_log: the champion's evaluation.
            context: what else the decision rests on: noise, anchor, calibration, labels.
            rule: how alpha is divided among the looks.
            alpha: what all looks share.
            who: who or what runs the gate.

        Raises:
            RegistryError: a release isn't registered, or the suite or the judge has no digest.
        """
        _require_names(suite, judge)
        new = self.resolve(challenger)
        old = None if champion is None else self.resolve(champion)
        evidence = digest(
            "look", 1, [new, old, challenger_log, champion_log, policy_digest, context]
        )
        with self._ledger.writing() as connection:
            rows = _rows(connection, _looks_at(suite, judge))
            for row in rows:
                if row["evidence"] == evidence:
                    return _look(row)
            number = 1 + max((row["number"] for row in rows), default=0)
            look = look_at(
                rule,
                alpha=alpha,
                number=number,
                promotions=_promotions(rows),
                spent_before=fsum(row["alpha"] for row in rows),
                recorded=True,
            )
            spent = {
                "suite": suite,
                "judge": judge,
                "number": number,
                "evidence": evidence,
                "rule": rule,
                "alpha": look.alpha,
                "champion": old,
            }
            event = self._ledger.append(
                connection,
                "alpha_spent",
                subject=new,
                who=who,
                why=str(LookId(suite, judge, number)),
                detail=spent
                | {
                    "challenger_log": challenger_log,
                    "champion_log": champion_log,
                    "policy": policy_digest,
                    "context": context,
                    "spent_before": look.spent_before,
                    "alpha_left": look.left,
                },
            )
            connection.execute(
                insert(LOOKS).values(
                    **spent,
                    challenger=new,
                    spent_before=look.spent_before,
                    alpha_left=look.left,
                    at=event.at,
                    who=who,
                )
            )
        return SpentLook(suite, judge, look, rule, new, old, event.at, who, None, None)

    def budget(self, suite: Digest, judge: Digest, *, rule: Spending, alpha: float) -> Budget:
        """Say what a suite has cost, and what the next look would be worth.

        Args:
            suite: the cases.
            judge: what scores them.
            rule: how alpha is divided among the looks to come.
            alpha: what all looks share.

        Raises:
            RegistryError: the suite or the judge has no digest.
        """
        _require_names(suite, judge)
        with self._ledger.reading() as connection:
            rows = _rows(connection, _looks_at(suite, judge))
        return _budget(suite, judge, rows, rule=rule, alpha=alpha)

    def budgets(self, *, rule: Spending, alpha: float) -> list[Budget]:
        """Give the budget of every suite and judge that was ever looked at, the latest last."""
        with self._ledger.reading() as connection:
            rows = _rows(connection, select(LOOKS))
        pairs = {(row["suite"], row["judge"]): row["at"] for row in rows}
        return [
            _budget(
                *pair,
                [row for row in rows if (row["suite"], row["judge"]) == pair],
                rule=rule,
                alpha=alpha,
            )
            for pair in sorted(pairs, key=lambda pair: (pairs[pair], pair))
        ]

    def _decide_look(
        self,
        connection: Connection,
        look: LookId,
        *,
        decision: Digest,
        verdict: Verdict,
        challenger: Digest,
        champion: Digest | None,
    ) -> None:
        """Write down what a look ended with; again is the same as once."""
        this = _looks_at(look.suite, look.judge).where(LOOKS.c.number == look.number)
        row = next(iter(_rows(connection, this)), None)
        if row is None:
            raise RegistryError(
                f"There is no {look}.",
                next_step="Spend it first; see what there is: ratchet gate budget",
            )
        if (row["challenger"], row["champion"]) != (challenger, champion):
            raise RegistryError(
                f"{str(look).capitalize()} was spent on {row['challenger'][:SHORT]!r} against "
                f"{row['champion'] and row['champion'][:SHORT]!r}, not on {challenger[:SHORT]!r} "
                f"against {champion and champion[:SHORT]!r}.",
                next_step="Decide with the look that was spent on this pair.",
            )
        if row["decision"] is None:
            connection.execute(
                update(LOOKS)
                .where(
                    LOOKS.c.suite == look.suite,
                    LOOKS.c.judge == look.judge,
                    LOOKS.c.number == look.number,
                )
                .values(decision=decision, verdict=verdict)
            )
        elif (row["decision"], row["verdict"]) != (decision, verdict):
            raise RegistryError(
                f"{str(look).capitalize()} ended {row['verdict']} with decision "
                f"{row['decision'][:SHORT]!r}; now {decision[:SHORT]!r} says {verdict}.",
                next_step="Use the first decision. New evidence is a new evaluation, and another "
                "look.",
            )


def _require_names(suite: Digest | None, judge: Digest | None) -> None:
    for what, name in (("suite", suite), ("judge", judge)):
        if not name:
            raise RegistryError(
                f"A look is counted for a suite and a judge; the {what} is {name!r}, expected "
                "its digest.",
                next_step="Evaluate with a configuration that names both.",
            )


def _looks_at(suite: Digest, judge: Digest) -> Select[Any]:
    return select(LOOKS).where(LOOKS.c.suite == suite, LOOKS.c.judge == judge)


def _rows(connection: Connection, query: Select[Any]) -> Sequence[RowMapping]:
    return connection.execute(query.order_by(LOOKS.c.number)).mappings().all()


def _promotions(rows: Sequence[RowMapping]) -> list[int]:
    return [row["number"] for row in rows if row["verdict"] == "PROMOTE"]


def _budget(
    suite: Digest, judge: Digest, rows: Sequence[RowMapping], *, rule: Spending, alpha: float
) -> Budget:
    promotions, number = _promotions(rows), max((row["number"] for row in rows), default=0)
    return Budget(
        suite=suite,
        judge=judge,
        looks=tuple(_look(row) for row in rows),
        spent=fsum(row["alpha"] for row in rows),
        left=alpha_after(rule, alpha=alpha, number=number, promotions=promotions),
        next_alpha=alpha_of(rule, alpha=alpha, number=number + 1, promotions=promotions),
    )


def _look(row: RowMapping) -> SpentLook:
    look = Look(
        number=row["number"],
        alpha=row["alpha"],
        recorded=True,
        spent_before=row["spent_before"],
        left=row["alpha_left"],
    )
    names = ("rule", "challenger", "champion", "at", "who", "decision", "verdict")
    return SpentLook(row["suite"], row["judge"], look, *(row[name] for name in names))
