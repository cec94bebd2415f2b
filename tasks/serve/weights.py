"""configs/models.yaml -> directories of checked weights that servers and embedders read."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from tasks.config import (
    EmbeddingModel,
    GeneratorModel,
    LocalPath,
    RerankerModel,
    WeightSource,
)
from tasks.digest import Digest, digest, file_digest
from tasks.errors import ConfigError, CorruptArtifact, SetupError
from tasks.serve.convert import CONVERTER_VERSION
from tasks.serve.environment import serving_environment, serving_python
from tasks.serve.sources import Progress, SourceFailed, fetch
from tasks.store import locked, new_directory, write_json

_MANIFEST = "weights.json"
# A download is there as parts and as one file; a GGUF file grows up to 3.6 times when unpacked.
_DOWNLOAD_FACTOR, _GGUF_FACTOR = 2.0, 3.6


def ensure_weights(
    name: str,
    model: GeneratorModel,
    *,
    room: Path,
    progress: Progress | None = None,
    python: Path | None = None,
) -> Path:
    """The directory of a generator's weights that vLLM serves, made on the first call.

    Args:
        name: the model's name in configs/models.yaml.
        model: its settings.
        room: directory of all models, `Home.room("models")`.
        progress: told each step in a short sentence.
        python: the serving environment's Python, for a GGUF file; default: `.venv-serve`.

    Raises:
        ConfigError: there is nothing to fetch (an endpoint), or no sha256 to check it with.
        SetupError: no source gave the right bytes (each one's reason is listed), or the disk is
            too full.
        CorruptArtifact: a finished directory was changed since.
    """
    if model.format == "endpoint":
        raise ConfigError(
            f"{name!r} runs elsewhere (format 'endpoint'): there are no weights to fetch.",
            next_step="Set vllm.endpoint in configs/services.yaml, or choose another model.",
        )
    expected = _expected_sha256(name, model.sha256, model.sources)
    if model.format == "directory":
        return _ensure_directory(name, expected, model.sources, model.bytes, room, progress)
    final = room / _converted(expected)
    # A release that serves what is there already must not wait for another one's download.
    if found := _finished(final):
        return found
    with locked(room / f".{expected}.lock"):
        if found := _finished(final):
            return found
        _sweep(final)
        say = _named(name, progress)
        _check_space(room, model.bytes, _DOWNLOAD_FACTOR + _GGUF_FACTOR)
        gguf, fetched = _gguf(name, expected, model, room, say)
        say("converting the GGUF file to a directory that vLLM serves (once, about a minute)")
        with new_directory(final) as partial:
            _convert(gguf, partial, python or serving_python(), say)
            _seal(partial, name, expected)
        if fetched:
            shutil.rmtree(_downloads(room, expected), ignore_errors=True)
    say("ready")
    return final


def ensure_embedding(
    name: str, model: EmbeddingModel, *, room: Path, progress: Progress | None = None
) -> Path:
    """The directory of an embedding model that sentence-transformers reads; see ensure_weights."""
    return _ensure_directory(name, model.sha256, model.sources, None, room, progress)


def ensure_reranker(
    name: str, model: RerankerModel, *, room: Path, progress: Progress | None = None
) -> Path:
    """The directory of a cross-encoder that sentence-transformers reads; see ensure_weights."""
    return _ensure_directory(name, model.sha256, model.sources, None, room, progress)


def find_weights(model: GeneratorModel, *, room: Path) -> Path | None:
    """The finished directory of a generator's weights; None when ensure_weights has work to do.

    Raises:
        CorruptArtifact: it was changed since it was made.
    """
    if model.sha256 is None:
        return None
    return _finished(
        room / (model.sha256 if model.format == "directory" else _converted(model.sha256))
    )


def find_embedding(model: EmbeddingModel, *, room: Path) -> Path | None:
    """The finished directory of an embedding model; see find_weights."""
    return _finished(room / model.sha256)


def _finished(final: Path) -> Path | None:
    if not final.is_dir():
        return None
    _check_unchanged(final)
    return final


def _converted(expected: Digest) -> str:
    return f"{expected}-bf16-v{CONVERTER_VERSION}"


def weights_digest(directory: Path) -> Digest:
    """Identity of a directory's weights: of model.safetensors, or of all its shards by name.

    Raises:
        SourceFailed: the directory holds no safetensors file.
    """
    shards = sorted(directory.glob("*.safetensors"))
    if not shards:
        raise SourceFailed(f"{str(directory)!r} holds no safetensors file")
    if len(shards) == 1:
        return file_digest(shards[0])
    return digest("weights", 1, {path.name: file_digest(path) for path in shards})


def _expected_sha256(name: str, sha256: Digest | None, sources: tuple[WeightSource, ...]) -> Digest:
    if sha256 is None or not sources:
        missing = "sha256" if sha256 is None else "sources"
        raise ConfigError(
            f"{name!r} in configs/models.yaml has no {missing}: weights that nobody can check are "
            "never served.",
            next_step=f"Add {missing}, or set format: endpoint for a server that runs elsewhere.",
        )
    return sha256


def _ensure_directory(
    name: str,
    expected: Digest,
    sources: tuple[WeightSource, ...],
    size: int | None,
    room: Path,
    progress: Progress | None,
) -> Path:
    final = room / expected
    say = _named(name, progress)
    with locked(room / f".{expected}.lock"):
        if found := _finished(final):
            return found
        _sweep(final)
        _check_space(room, size, _DOWNLOAD_FACTOR)
        reasons: list[str] = []
        for source in sources:
            try:
                if isinstance(source, LocalPath):
                    return _local(source, expected)
                with new_directory(final) as partial:
                    fetch(source, partial, downloads=_downloads(room, expected), progress=say)
                    _check_sha256(weights_digest(partial), expected, room)
                    _seal(partial, name, expected)
            except SourceFailed as failure:
                reasons.append(f"{source.kind}: {failure}")
            else:
                shutil.rmtree(_downloads(room, expected), ignore_errors=True)
                say("ready")
                return final
    raise _every_source_failed(name, reasons)


def _gguf(
    name: str, expected: Digest, model: GeneratorModel, room: Path, say: Progress
) -> tuple[Path, bool]:
    """The checked GGUF file, and whether it was fetched (and so can be fetched again)."""
    downloads = _downloads(room, expected)
    whole = downloads / "model.gguf"
    # It got this name after its sha256 was found right; only the conversion was cut off.
    if whole.is_file():
        return whole, True
    reasons: list[str] = []
    for source in model.sources:
        partial = downloads / "model.gguf.partial"
        try:
            if isinstance(source, LocalPath):
                return _local(source, expected), False
            downloads.mkdir(parents=True, exist_ok=True)
            fetch(source, partial, downloads=downloads, progress=say)
            say("checking the sha256")
            _check_sha256(file_digest(partial), expected, room)
        except SourceFailed as failure:
            reasons.append(f"{source.kind}: {failure}")
        else:
            partial.replace(whole)
            return whole, True
        finally:
            partial.unlink(missing_ok=True)
    raise _every_source_failed(name, reasons)


def _local(source: LocalPath, expected: Digest) -> Path:
    path = source.path.expanduser()
    if not path.exists():
        raise SourceFailed(f"there is nothing at {str(path)!r}")
    found = weights_digest(path) if path.is_dir() else file_digest(path)
    if found != expected:
        raise SourceFailed(f"{str(path)!r} has sha256 {found}, expected {expected}")
    return path.resolve()


def _check_sha256(found: Digest, expected: Digest, room: Path) -> None:
    if found != expected:
        # Kept parts would give the same wrong bytes again.
        shutil.rmtree(_downloads(room, expected), ignore_errors=True)
        raise SourceFailed(f"the bytes have sha256 {found}, expected {expected}")


def _every_source_failed(name: str, reasons: list[str]) -> SetupError:
    return SetupError(
        f"The weights of {name!r} can't be had: {len(reasons)} source(s) failed:\n"
        + "\n".join(f"  {reason}" for reason in reasons),
        next_step="Check the network, or pip's settings with: pip config list; or put the file "
        "on this machine and name it in configs/models.yaml: {kind: path, path: ...}",
        reasons=reasons,
    )


def _check_space(room: Path, size: int | None, factor: float) -> None:
    if size is None:
        return
    room.mkdir(parents=True, exist_ok=True)
    needed, free = int(size * factor), shutil.disk_usage(room).free
    if free < needed:
        raise SetupError(
            f"The disk that holds {str(room)!r} has {free / 1e9:.1f} GB free; fetching and "
            f"converting this model needs {needed / 1e9:.1f} GB.",
            next_step="Free some space, or set RATCHET_HOME to a directory on a larger disk.",
            needed=needed,
            free=free,
        )


def _convert(gguf: Path, target: Path, python: Path, say: Progress) -> None:
    script = Path(__file__).with_name("convert.py")
    # -I: the project's directory must not shadow the serving environment's packages.
    command = [str(python), "-I", str(script), str(gguf), str(target)]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=serving_environment({}),
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                say(line.strip())
        except BaseException:
            # Left alone it would go on holding gigabytes of memory.
            process.kill()
            raise
        if process.wait():
            errors.seek(0)
            tail = "\n".join(errors.read().splitlines()[-12:])
            raise SetupError(
                f"Converting {gguf.name} failed (exit code {process.returncode}):\n{tail}",
                next_step="python3 setup/bootstrap.py --only serving   makes the environment again",
            )


def _seal(directory: Path, name: str, source_sha256: Digest) -> None:
    """Note each file's size and sha256, so that a later change shows."""
    files = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            path.chmod(0o644)
            files[str(path.relative_to(directory))] = {
                "bytes": path.stat().st_size,
                "sha256": file_digest(path),
            }
    write_json(
        directory / _MANIFEST,
        {"name": name, "source_sha256": source_sha256, "files": files},
    )


def _check_unchanged(directory: Path, *, read: bool = False) -> None:
    """Compare sizes with the manifest; with `read` every byte."""
    try:
        files = json.loads((directory / _MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        raise _corrupt(directory, f"its {_MANIFEST} can't be read ({error})") from error
    for name, noted in files.items():
        path = directory / name
        if not path.is_file():
            raise _corrupt(directory, f"{name} is gone")
        if path.stat().st_size != noted["bytes"]:
            raise _corrupt(
                directory, f"{name} has {path.stat().st_size} bytes, expected {noted['bytes']}"
            )
        if read and file_digest(path) != noted["sha256"]:
            raise _corrupt(directory, f"{name} has other bytes than when it was made")


def verify_weights(directory: Path) -> None:
    """Read every byte of a finished directory again.

    Raises:
        CorruptArtifact: a file is missing or was changed.
    """
    _check_unchanged(directory, read=True)


def _corrupt(directory: Path, what: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"The weights in {str(directory)!r} were changed: {what}.",
        next_step=f"rm -r '{directory}'   and run the command again: it fetches them anew",
    )


def _sweep(final: Path) -> None:
    """Remove what a killed process left half-made; the caller's lock says that nobody makes it."""
    for partial in final.parent.glob(f".{final.name[:16]}.partial-*"):
        shutil.rmtree(partial, ignore_errors=True)


def _downloads(room: Path, expected: Digest) -> Path:
    return room / "downloads" / expected


def _named(name: str, progress: Progress | None) -> Progress:
    def say(message: str) -> None:
        if progress is not None:
            progress(f"{name}: {message}")

    return say
