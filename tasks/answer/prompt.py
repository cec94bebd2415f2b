"""configs/prompts/*.yaml -> PromptVersion: chat messages with plain `{{ variables }}`."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from tasks.config import Settings, load_settings
from tasks.digest import Digest, digest
from tasks.errors import ConfigError

Message = dict[str, str]
"""One chat message as servers take it: `role` and `content`."""

ANSWER_VARIABLES = frozenset({"question", "passages"})
"""What an answering prompt is given."""

_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)


class PromptMessage(Settings):
    """One message of a prompt, before its variables are filled in."""

    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class PromptFile(Settings):
    """What a prompt file holds."""

    description: str = ""
    messages: tuple[PromptMessage, ...] = Field(min_length=1)


class PromptVersion(Settings):
    """An immutable prompt; equal content has an equal digest whatever the file is called."""

    name: str
    messages: tuple[PromptMessage, ...]

    @property
    def digest(self) -> Digest:
        """Identity of the content."""
        return digest("prompt", 1, [[m.role, m.content] for m in self.messages])

    @property
    def variables(self) -> frozenset[str]:
        """Names that `render` expects."""
        return frozenset(
            name for message in self.messages for name in _PLACEHOLDER.findall(message.content)
        )

    def render(self, **values: str) -> list[Message]:
        """Fill in every variable, once: a value that holds `{{ x }}` stays as it is.

        Raises:
            KeyError: a variable has no value.
        """
        return [
            {
                "role": message.role,
                "content": _PLACEHOLDER.sub(lambda found: values[found[1]], message.content),
            }
            for message in self.messages
        ]


def load_prompt(path: Path, *, variables: frozenset[str]) -> PromptVersion:
    """Read a prompt file and check its variables.

    Args:
        path: a YAML file with `messages`.
        variables: the names that the caller fills in; the prompt must use exactly these.

    Raises:
        ConfigError: the file is missing or malformed, or a variable is unknown or missing.
    """
    file = load_settings(path, PromptFile)
    prompt = PromptVersion(name=path.stem, messages=file.messages)
    unknown, missing = prompt.variables - variables, variables - prompt.variables
    if unknown or missing:
        problems = [f"unknown {{{{ {name} }}}}{_line(path, name)}" for name in sorted(unknown)]
        problems += [f"missing {{{{ {name} }}}}" for name in sorted(missing)]
        raise ConfigError(
            f"{path}: {', '.join(problems)}; expected exactly "
            + ", ".join(f"{{{{ {name} }}}}" for name in sorted(variables))
            + ".",
            next_step=f"Edit {path}.",
        )
    return prompt


def _line(path: Path, variable: str) -> str:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if variable in _PLACEHOLDER.findall(line):
            return f" in line {number}"
    return ""
