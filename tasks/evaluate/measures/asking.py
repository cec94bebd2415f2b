"""A question to the judge -> an answer of the wanted form, or why there is none."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from tasks.evaluate.measures.base import NotScored
from tasks.evaluate.measures.schema import form_schema
from tasks.serve.label import calling, current_label

if TYPE_CHECKING:
    from tasks.config import Sampling
    from tasks.evaluate.measures.base import MeasureContext
    from tasks.serve.client import Completion, Message, ModelClient

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

REPAIR = (
    "That can't be read: {problem}. Give the answer again, as JSON of the form that was asked for, "
    "shorter where it was cut, and nothing else."
)


def judge_of(context: "MeasureContext", *, measure: str) -> "tuple[ModelClient, Sampling]":
    """The door to the judge, and its sampling: the model's, with the length of a judgement.

    Raises:
        ConfigError: the evaluation has no judge; names the measure that needs one.
    """
    client = context.require(context.client, measure=measure, what="a judge's server")
    judge = context.require(context.judge, measure=measure, what="`judge` settings")
    return client, client.version.sampling.model_copy(update={"max_tokens": judge.max_tokens})


async def ask_judge(
    client: "ModelClient",
    messages: "Sequence[Message]",
    model: type[M],
    *,
    sampling: "Sampling",
    what: str,
    schema: dict[str, Any] | None = None,
) -> M:
    """Ask the judge; an answer that can't be read is asked for once more, with what is wrong.

    Args:
        client: the door to the judge.
        messages: the conversation.
        model: what the answer must be.
        sampling: the judge's.
        what: the answer in words, for a failure's message.
        schema: JSON schema that the server forces the answer into, where it can; None: the bounded
            one of the model.

    Raises:
        NotScored: the second answer can't be read either, or the judge refused; with the raw text.
        CallFailed: the call failed after its retries.
        TooManyFailures: the judge's server is gone.
    """
    schema = form_schema(model) if schema is None else schema
    first = await client.chat(messages, purpose="judge", sampling=sampling, schema=schema)
    try:
        return _read(first, model)
    except ValidationError as error:
        problem = _problem(first, error)
    again = [
        *messages,
        {"role": "assistant", "content": first.text},
        {"role": "user", "content": REPAIR.format(problem=problem)},
    ]
    with calling(depth=current_label().depth + 1):
        second = await client.chat(again, purpose="judge", sampling=sampling, schema=schema)
    try:
        return _read(second, model)
    except ValidationError as error:
        raise NotScored(
            "UnreadableJudgement",
            f"the judge's answer isn't {what}, and wasn't when it was asked again: "
            f"{_problem(second, error)}",
            raw=second.text,
        ) from error


async def ask_all(asking: Iterable[Awaitable[T]]) -> list[T]:
    """Wait for every question, also when one fails: the others' answers are paid for, too.

    Raises:
        BaseException: the first failure, in the order of the questions.
    """
    answers = await asyncio.gather(*asking, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers  # type: ignore[return-value]  # none of them is an exception


def _read(completion: "Completion", model: type[M]) -> M:
    if completion.refused:
        raise NotScored("Refused", "the judge refused to answer", raw=completion.text)
    return model.model_validate_json(completion.text)


def _problem(completion: "Completion", error: ValidationError) -> str:
    cut = "it was cut at max_tokens; " if completion.finish_reason == "length" else ""
    return cut + str(error.errors(include_url=False, include_input=False)[0]["msg"])
