"""A YAML file -> validated, frozen settings; a wrong line is named before anything runs."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from tasks.digest import Digest, digest
from tasks.errors import ConfigError

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of every configuration model: immutable, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def load_settings(path: Path, model: type[S]) -> S:
    """Read a YAML file into `model`.

    Raises:
        ConfigError: the file is missing, isn't YAML, or has wrong fields; the message names the
            file and, for each wrong field, its line, its value and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
        try:
            return model.model_validate(YAML(typ="safe").load(text))
        except (YAMLError, ValueError):
            # What keeps the lines, by which the error is told, takes several times as long.
            tree = YAML(typ="rt").load(text)
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no file {str(path)!r}.",
            next_step=f"Create it, or restore it with: git checkout -- {path}",
        ) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(
            f"{path}:{line}: this is not YAML: {error.problem}.", next_step=f"Edit {path}."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8: {error}.", next_step=f"Save {path} as UTF-8."
        ) from error
    except (YAMLError, OSError) as error:
        # Control characters, a directory, a file that this user may not read.
        raise ConfigError(
            f"{path} can't be read: {error}.", next_step=f"Look at {path}."
        ) from error
    if not isinstance(tree, CommentedMap):
        raise ConfigError(
            f"{path}:1: expected a mapping of settings, found {type(tree).__name__}.",
            next_step=f"Edit {path}.",
        )
    try:
        return model.model_validate(_plain(tree))
    except ValidationError as error:
        lines = [
            f"  {path}:{_line_of(tree, problem['loc'])}: "
            f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
            + (f" (found {problem['input']!r:.80})" if problem["type"] != "missing" else "")
            for problem in error.errors()
        ]
        raise ConfigError(
            f"{path} has {len(lines)} wrong setting(s):\n" + "\n".join(lines),
            next_step=f"Edit {path}; every field is explained in the file that the project ships.",
        ) from error


def settings_digest(kind: str, settings: Settings) -> Digest:
    """Identity of a settings object's content."""
    return digest(kind, 1, settings.model_dump(mode="json"))


def _plain(node: object) -> object:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    # ruamel's scalar classes carry formatting; settings want the plain value.
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, ScalarBoolean):
        return bool(node)
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _line_of(tree: CommentedMap, location: tuple[int | str, ...]) -> int:
    """Line, counted from 1, of the deepest part of a location that the file has."""
    node: object = tree
    line = 1
    for depth, part in enumerate(location, start=1):
        if isinstance(node, CommentedMap) and node.get("kind") == part and depth < len(location):
            # The tag of a union, which may have the name of a field.
            continue
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
            node = node[part]
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
            node = node[part]
        # What the file lacks is a missing field or a type's name: keep the parent's line.
    return line
