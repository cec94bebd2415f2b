"""What would keep Ratchet from working on this machine, and what to do about it."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import psutil

from flows.addresses import served_elsewhere
from flows.services import status
from tasks.config import EmbeddingModel, GeneratorModel, Project
from tasks.errors import RatchetError
from tasks.serve.process import Daemon, check_port
from tasks.serve.weights import find_embedding, find_weights, verify_weights
from tasks.store import Home

State = Literal["ok", "warn", "fail"]

_DISK_FAIL_GB, _DISK_WARN_GB = 3, 12
_MEMORY_FAIL_GB, _MEMORY_WARN_GB = 8, 12
_PYTHONS = ((3, 11), (3, 13))


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    found: str
    next_step: str = ""
    """What to do; empty when all is well."""


def check_machine(project: Project, home: Home, *, read_weights: bool = False) -> list[Check]:
    """Look at the machine, the environments, the weights and the servers; changes nothing.

    Args:
        project: its settings.
        home: the state directory.
        read_weights: read every byte of the weights again, which takes seconds a GB.

    Returns:
        Every check, in the order in which problems should be solved.
    """
    own_vllm = not served_elsewhere(project, project.release.model)
    checks = [_python(), _disk(home), _memory(serving=own_vllm), _cores()]
    checks += [_program("git", "warn", "Results name no commit without it.")]
    checks += [_program("make", "warn", "Use the ratchet command instead of make.")]
    if own_vllm:
        # vLLM asks it for the processor's layout, and doesn't start without it.
        checks += [_program("lscpu", "fail", "Install it, for example: apt install util-linux")]
    checks += [_compiler(), _gpu(project)]
    checks += [_environment(project.root, ".venv", "main")]
    if own_vllm:
        checks += [_environment(project.root, ".venv-serve", "serving")]
    room = home.path("models")
    for name, generator in _generators(project).items():
        find = partial(find_weights, generator, room=room)
        checks += [_weights(name, find, read=read_weights)]
    embedding = project.models.embedding(project.release.embedding)
    if isinstance(embedding, EmbeddingModel):
        find = partial(find_embedding, embedding, room=room)
        checks += [_weights(project.release.embedding, find, read=read_weights)]
    checks += _ports(project, home)
    checks += _servers(project, home)
    return checks


def _python() -> Check:
    found = platform.python_version()
    if _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        return Check("python", "ok", found)
    return Check("python", "warn", f"{found}; tested with 3.11 to 3.13", "make setup")


def _disk(home: Home) -> Check:
    # The state directory may not exist yet; its nearest existing parent is on the same disk.
    place = next(path for path in (home.root, *home.root.parents) if path.exists())
    free = shutil.disk_usage(place).free / 1e9
    return _amount(
        "disk",
        free,
        _DISK_FAIL_GB,
        _DISK_WARN_GB,
        "Free some space, or set RATCHET_HOME to a directory on a larger disk.",
    )


def _memory(*, serving: bool) -> Check:
    memory = psutil.virtual_memory()
    total = memory.total / 1e9
    if not serving:
        return Check("memory", "ok", f"{total:.1f} GB")
    return _amount(
        "memory",
        total,
        _MEMORY_FAIL_GB,
        _MEMORY_WARN_GB,
        "Lower VLLM_CPU_KVCACHE_SPACE in configs/services.yaml, or set vllm.endpoint there.",
        of=f" in all, {memory.available / 1e9:.1f} GB free",
    )


def _amount(
    name: str, found: float, fail: float, warn: float, next_step: str, *, of: str = " free"
) -> Check:
    state: State = "fail" if found < fail else "warn" if found < warn else "ok"
    wanted = "" if state == "ok" else f"; {warn} GB or more is comfortable"
    return Check(name, state, f"{found:.1f} GB{of}{wanted}", "" if state == "ok" else next_step)


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if cores is not None and cores < 2:
        return Check("cores", "warn", f"{cores}; an evaluation takes twice as long as with two")
    return Check("cores", "ok", str(cores))


def _program(name: str, state: State, next_step: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, state, "not on PATH", next_step)
    return Check(name, "ok", path)


def _compiler() -> Check:
    path = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if path is None:
        # Tried: with enforce-eager vLLM starts and answers on a CPU without any compiler.
        return Check(
            "c compiler",
            "warn",
            "none on PATH; only needed where a model sets enforce-eager: false",
            "Install one, for example: apt install gcc g++",
        )
    return Check("c compiler", "ok", path)


def _gpu(project: Project) -> Check:
    own = not served_elsewhere(project, project.release.model)
    wanted = own and project.services.vllm.device == "gpu"
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        found = "; ".join(result.stdout.split("\n")).strip("; ")
    except (OSError, subprocess.SubprocessError):
        found = ""
    if not found and wanted:
        return Check(
            "gpu",
            "fail",
            "none, but configs/services.yaml says vllm.device: gpu",
            "Set vllm.device: cpu, then: make setup",
        )
    if found and not wanted:
        return Check(
            "gpu", "ok", f"{found}; not used (vllm.device: gpu in configs/services.yaml uses it)"
        )
    return Check("gpu", "ok", found or "none; not needed")


def _environment(root: Path, folder: str, name: str) -> Check:
    """Whether an environment is what its lock describes; setup alone knows what that means."""
    if not (root / folder / "bin" / "python").exists():
        return Check(folder, "fail", "not there", "make setup")
    script = root / "setup" / "bootstrap.py"
    result = subprocess.run(
        [sys.executable, str(script), "--check", name],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        return Check(folder, "warn", "isn't what its lock in requirements/ says", "make setup")
    return Check(folder, "ok", "as its lock in requirements/ says")


def _generators(project: Project) -> dict[str, GeneratorModel]:
    names = dict.fromkeys((project.release.model, project.evaluate.judge.model))
    found = {
        name: project.models.generator(name)
        for name in names
        if not served_elsewhere(project, name)
    }
    return {name: model for name, model in found.items() if model.format != "endpoint"}


def _weights(name: str, find: Callable[[], Path | None], *, read: bool) -> Check:
    label = f"weights of {name}"
    try:
        directory = find()
        if directory is None:
            return Check(label, "warn", "not fetched yet", "make up   fetches them")
        if read:
            verify_weights(directory)
    except RatchetError as error:
        return Check(label, "fail", error.message, error.next_step)
    return Check(label, "ok", str(directory))


def _ports(project: Project, home: Home) -> list[Check]:
    """Whether each server of ours that doesn't run could have its port."""
    services = project.services
    wanted = [
        (
            "vllm",
            ", ".join(served_elsewhere(project, project.release.model)) or None,
            services.vllm.host,
            services.vllm.port,
        ),
        ("mlflow", services.mlflow.tracking_uri, services.mlflow.host, services.mlflow.port),
        ("prefect", services.prefect.api_url, services.prefect.host, services.prefect.port),
    ]
    checks = []
    for name, external, host, port in wanted:
        if external is not None or Daemon(name, home).running() is not None:
            continue
        try:
            check_port(host, port, setting=f"{name}.port")
        except RatchetError as error:
            checks.append(Check(f"port {port}", "fail", error.message, error.next_step))
        else:
            checks.append(Check(f"port {port}", "ok", f"free for {name}"))
    return checks


def _servers(project: Project, home: Home) -> list[Check]:
    checks = []
    for row in status(project, home):
        found = " ".join(part for part in (row.state, row.url, row.detail) if part)
        match row.state:
            case "running" | "external":
                checks.append(Check(row.service, "ok", found))
            case "stopped":
                checks.append(Check(row.service, "warn", found, "make up"))
            case "starting":
                checks.append(Check(row.service, "warn", found, f"Wait, or read {row.log}"))
            case "unreachable":
                checks.append(Check(row.service, "fail", found, "See configs/services.yaml"))
    return checks
