"""JSON schema of a response model -> one that a small model can't run away from."""

from functools import lru_cache
from typing import Any

from pydantic import BaseModel

MOST_ITEMS = 8
MOST_CHARACTERS = 240


@lru_cache(maxsize=256)
def form_schema(form: type[BaseModel], items: int | None = None) -> dict[str, Any]:
    """The bounded JSON schema of an answer's form; the same object each time, not to be changed.

    pydantic takes milliseconds to write one, and every call of a case has one: made again for each,
    they keep the server waiting for its first call.

    Args:
        form: the answer.
        items: entries that each of its lists must have; None: 1 to `MOST_ITEMS`.
    """
    schema = form.model_json_schema()
    if items is None:
        return closed_schema(schema)
    closed = closed_schema(schema, items=items)
    for part in closed["properties"].values():
        if part.get("type") == "array":
            part["minItems"] = items
    return closed


def closed_schema(
    schema: dict[str, Any], *, items: int = MOST_ITEMS, characters: int = MOST_CHARACTERS
) -> dict[str, Any]:
    """Bound what is open in a JSON schema whose whole numbers are all yes-or-no verdicts.

    A 0.5B judge repeats itself until its tokens run out, and then no JSON can be read: lists get
    at most `items` entries, strings at most `characters`. Whole numbers become 0 or 1, which is
    what ragas's prompts ask for. Objects take no other fields, as OpenAI's strict mode wants.
    Descriptions are dropped: the prompt has them.
    """
    closed = {
        key: _closed(value, items=items, characters=characters)
        for key, value in schema.items()
        if key not in {"description", "default"} or not isinstance(value, str)
    }
    kind = schema.get("type")
    if kind == "object":
        closed["additionalProperties"] = False
    elif kind == "array":
        closed |= {"minItems": 1, "maxItems": items}
    elif kind == "string":
        closed["maxLength"] = characters
    elif kind == "integer":
        closed["enum"] = [0, 1]
    return closed


def _closed(value: Any, *, items: int, characters: int) -> Any:
    if isinstance(value, dict):
        return closed_schema(value, items=items, characters=characters)
    if isinstance(value, list):
        return [_closed(part, items=items, characters=characters) for part in value]
    return value
