"""Request body -> the text that the stub answers: the same one for the same request."""

import hashlib
import json
import random
import re
from typing import Any

_SCHEMA_IN_TEXT = re.compile(r'chema[^{]*(?=\{"(?:\$defs|description|properties)")')
WORDS = ("alpha", "beta", "gamma", "delta", "store", "cool", "dry", "lasts", "days", "weeks")


def respond(body: dict[str, Any]) -> str:
    """An answer that fits the request: JSON of its schema, or a sentence.

    Args:
        body: of a chat completion.
    """
    asked = json.dumps(
        [body["messages"], body.get("response_format"), body.get("seed")], sort_keys=True
    )
    draw = random.Random(hashlib.sha256(asked.encode()).digest())  # noqa: S311  (no secret)
    schema = schema_of(body)
    if schema is not None:
        return json.dumps(_value(schema, schema, draw))
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(8, 24))).capitalize() + "."


def schema_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON schema that the answer must have: of `response_format`, or named in the prompt."""
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return dict(form["json_schema"]["schema"])
    text = "\n".join(str(message["content"]) for message in body["messages"])
    found = _SCHEMA_IN_TEXT.search(text)
    if found is None:
        return None
    schema, _ = json.JSONDecoder().raw_decode(text, found.end())
    return dict(schema)


def _value(schema: dict[str, Any], root: dict[str, Any], draw: random.Random) -> Any:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "enum" in schema:
        return draw.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return {
            name: _value(part, root, draw) for name, part in schema.get("properties", {}).items()
        }
    if kind == "array":
        least, most = schema.get("minItems", 2), schema.get("maxItems", 4)
        count = draw.randint(least, max(least, min(most, least + 2)))
        return [_value(schema["items"], root, draw) for _ in range(count)]
    if kind == "integer":
        return draw.randint(schema.get("minimum", 0), schema.get("maximum", 1))
    if kind == "number":
        return draw.random()
    if kind == "boolean":
        return draw.random() < 0.5
    return " ".join(draw.choice(WORDS) for _ in range(6))
