"""Importable packages -> JSON lines of their docstrings: a script, in a process of its own.

`tasks/corpus/docstrings.py` runs this file with any Python from 3.11 on. It uses the standard
library alone and is never imported by Ratchet: importing foreign packages can print, warn, start
threads or crash, and none of that may happen in the process that evaluates a release.

Lines written, one JSON object each:
    {"at": module}                     what is being imported or walked, to name what crashed
    {"doc_id", "title", "doc", "module", "kind"}
    {"broken": name, "detail": text}
    {"documented": n, "undocumented": n}           the last line
"""

import enum
import functools
import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Emit = Callable[[dict[str, Any]], None]
Rank = tuple[bool, bool, int, int, bool, bool, int, str, str]

LONGEST_SIGNATURE = 120
"""Characters; a title is embedded with every passage of its document."""
NOT_API = {"conftest", "setup", "test", "tests"}
"""Submodules that packages ship and nobody calls; importing them may need more packages."""
MADE_UP = ("Alias for field number", "Structure/Union member", "An enumeration.")
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Dots:
    """A default value that isn't shown: its text would differ between machines or runs."""

    def __repr__(self) -> str:
        return "..."


class Finding:
    """One object and the names under which it can be reached."""

    def __init__(self, target: object, kind: str) -> None:
        self.target = target
        self.kind = kind
        self.names: list[Rank] = []


def is_public(name: str) -> bool:
    """No part of a dotted name starts with an underscore."""
    return not any(part.startswith("_") for part in name.split("."))


def function_of(value: Any) -> Any:
    """The function behind a method, a cache or a descriptor; None for anything else."""
    # Asking any object for `__func__` would be answered by mocks and proxies as well.
    if isinstance(value, (staticmethod, classmethod, types.MethodType)):
        value = value.__func__
    if isinstance(value, type(functools.lru_cache(id))):
        value = inspect.unwrap(value)
    return value if inspect.isroutine(value) else None


def members(module: types.ModuleType, walked: set[str]) -> Iterator[tuple[str, Any, bool]]:
    """(name, value, listed) that belong to a module: its `__all__`, or what isn't an import."""
    listed = getattr(module, "__all__", None)
    names = sorted(set(dir(module) if listed is None else map(str, listed)))
    for name in names:
        if name.startswith("_"):
            continue
        try:
            value = getattr(module, name)
        except Exception as error:
            yield name, error, True
            continue
        home = getattr(value, "__module__", None)
        if module.__name__ == "builtins":
            home = None  # `open` says that it lives in io
        foreign = isinstance(home, str) and home != module.__name__ and home in walked
        if listed is not None or not foreign:
            yield name, value, listed is not None


def class_members(
    cls: type, is_documented_class: Callable[[type], bool]
) -> Iterator[tuple[str, Any]]:
    """(name, raw value) of a class, with those that it has from bases that nobody documents."""
    seen: set[str] = set()
    for base in cls.__mro__:
        if base is not cls and (base is object or is_documented_class(base)):
            continue
        for name, value in sorted(vars(base).items(), key=lambda item: str(item[0])):
            if isinstance(name, str) and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, value


def rank(module: str, path: str, depth: int, listed: bool, target: object) -> Rank:
    """Sort key of the names of one object: the smallest is the one that a user would expect."""
    home = str(getattr(target, "__module__", None) or "").lstrip("_")
    family = home == module or home.startswith(module + ".")
    return (
        module != "builtins",
        path.rpartition(".")[2] != getattr(target, "__name__", None),
        path.count("."),
        depth,
        not listed,
        not family,
        module.count("."),
        module,
        path,
    )


def shown(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter without annotation, and with a default only where every machine has the same."""
    default = parameter.default
    if default is not parameter.empty and not is_plain(default):
        default = Dots()
    return parameter.replace(annotation=parameter.empty, default=default)


def is_plain(value: object) -> bool:
    """Whether a value reads the same on every machine."""
    if isinstance(value, enum.Enum):
        return False
    if isinstance(value, str):
        return len(value) <= 20 and os.sep not in value
    if isinstance(value, tuple):
        return len(value) <= 4 and all(is_plain(item) for item in value)
    return value is None or (
        isinstance(value, (bool, int, float, bytes)) and len(repr(value)) <= 20
    )


def signature(target: Any) -> str:
    """`(a, b=1)`, shortened where it is long; "" where Python doesn't know it."""
    try:
        parameters = [shown(item) for item in inspect.signature(target).parameters.values()]
        # A caller doesn't write it; `random.choice` is a bound method, and so is every method.
        bound = isinstance(target, types.ClassMethodDescriptorType)
        if parameters and (bound or parameters[0].name in {"self", "cls"}):
            del parameters[0]
        full = str(inspect.Signature(parameters))
    except Exception:
        return ""
    if len(full) <= LONGEST_SIGNATURE:
        return full
    text = "("
    for item in parameters:
        if len(text) + len(item.name) > LONGEST_SIGNATURE:
            return text + "...)"
        text += item.name + ", "
    return text.removesuffix(", ") + ")"


def docstring(target: object) -> str | None:
    """The object's own docstring, cleaned; with its constructor's for a class; None without any."""
    texts = [own_docstring(target)]
    if inspect.isclass(target):
        constructor = vars(target).get("__init__")
        # Of types written in C it is a slot, whose text is the same for all of them.
        if inspect.isfunction(constructor):
            texts.append(own_docstring(constructor))
    return "\n\n".join(filter(None, texts)) or None


def own_docstring(target: object) -> str | None:
    """The cleaned text; None where there is none or where Python made it up."""
    try:
        text = target.__doc__
    except Exception:
        return None
    if not isinstance(text, str) or not text.strip() or text.startswith(MADE_UP):
        return None
    return ADDRESS.sub("", inspect.cleandoc(text))


def wanted(request: dict[str, Any]) -> list[tuple[str, bool]]:
    """(top-level name, whether it may be missing), each once, built-in names first."""
    names = dict.fromkeys(request["packages"], False)
    if request["stdlib"]:
        for name in {*sys.stdlib_module_names, *request["also"]} - set(request["exclude"]):
            if is_public(name):
                names.setdefault(name, True)
    return sorted(names.items(), key=lambda item: (item[0] != "builtins", item[0]))


def import_all(request: dict[str, Any], emit: Emit) -> Iterator[str]:
    """Import every module of the wanted packages; yield the names of those that could be."""
    exclude, skip = set(request["exclude"]), set(request["skip"])
    for package, may_be_missing in wanted(request):
        if may_be_missing and not exists(package):
            continue  # a module of another operating system
        pending = [package]
        while pending:
            name = pending.pop(0)
            if name in skip:
                continue
            emit({"at": name})
            try:
                module = importlib.import_module(name)
            except BaseException as error:
                emit({"broken": name, "detail": f"{type(error).__name__}: {error}"})
                continue
            yield name
            for child in sorted(info.name for info in submodules(module)):
                path = f"{name}.{child}"
                if not child.startswith("_") and child not in NOT_API and path not in exclude:
                    pending.append(path)


def submodules(module: types.ModuleType) -> Iterable[pkgutil.ModuleInfo]:
    """What a package holds; nothing for a plain module."""
    return pkgutil.iter_modules(module.__path__) if hasattr(module, "__path__") else ()


def exists(name: str) -> bool:
    """Whether this Python has a module, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def collect(names: list[str], emit: Emit) -> Iterable[Finding]:
    """Every documented object once, by identity, with all its names."""
    walked = {name for name in names if is_public(name)}
    findings: dict[int, Finding] = {}
    classes: dict[int, tuple[type, list[tuple[str, str, bool]]]] = {}

    def note(target: object, kind: str, module: str, path: str, depth: int, listed: bool) -> None:
        found = findings.setdefault(id(target), Finding(target, kind))
        found.names.append(rank(module, path, depth, listed, target))

    for module_name in names:
        module = sys.modules[module_name]
        for name, value, listed in members(module, walked):
            if isinstance(value, Exception):
                emit({"broken": f"{module_name}.{name}", "detail": repr(value)})
            elif inspect.isclass(value):
                classes.setdefault(id(value), (value, []))[1].append((module_name, name, listed))
                note(value, "class", module_name, name, 0, listed)
            elif not isinstance(value, types.ModuleType) and function_of(value) is not None:
                note(function_of(value), "function", module_name, name, 0, listed)
    for cls, places in classes.values():
        for module_name, class_name, listed in places:
            for name, value in class_members(cls, lambda base: id(base) in classes):
                path = f"{class_name}.{name}"
                function = function_of(value)
                if function is not None:
                    note(function, "method", module_name, path, len(cls.__mro__), listed)
                elif inspect.isdatadescriptor(value) or isinstance(
                    value, functools.cached_property
                ):
                    note(value, "property", module_name, path, len(cls.__mro__), listed)
    return findings.values()


def main() -> None:
    """Walk the packages that the request on the command line names."""
    request = json.loads(sys.argv[1])
    # Whatever an imported module prints goes to the error stream, not between the JSON lines.
    lines = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")

    def emit(row: dict[str, Any]) -> None:
        lines.write(json.dumps(row) + "\n")
        lines.flush()

    names = list(import_all(request, emit))
    documented = undocumented = 0
    for name in names:
        text = docstring(sys.modules[name])
        if text:
            emit({"doc_id": name, "title": name, "doc": text, "module": name, "kind": "module"})
    taken = set(names)
    for found in sorted(collect(names, emit), key=lambda item: min(item.names)[-2:]):
        module, path = min(found.names)[-2:]
        text = docstring(found.target)
        doc_id = f"{module}.{path}"
        if text is None or doc_id in taken:
            undocumented += text is None
            continue
        taken.add(doc_id)
        documented += 1
        called = path if module == "builtins" else doc_id
        title = called + ("" if found.kind == "property" else signature(found.target))
        row = {"doc_id": doc_id, "title": title, "doc": text}
        emit({**row, "module": module, "kind": found.kind})
    emit({"documented": documented, "undocumented": undocumented})
    lines.flush()
    # Threads and exit handlers of imported packages are none of our business.
    os._exit(0)


if __name__ == "__main__":
    main()
