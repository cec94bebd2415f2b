"""Observed seconds of a real server -> the stub's `Speed`, and the file that keeps it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.stub.engine import Engine, Request, Speed

PROCESSOR = Path(__file__).with_name("processor.json")
"""What `benchmarks.stub_calibration` measured last."""
_LEAST_S = 1e-9


@dataclass(frozen=True)
class Observation:
    """Requests that a server got at one time, and how long it took for all of them."""

    requests: tuple[Request, ...]
    seconds: float


def fit(observations: Sequence[Observation], server: Speed) -> Speed:
    """The rates with which the stub takes as long as the server did.

    Seconds are steps, prefilled and decoded tokens times what each costs, where the stub's own
    scheduler says how many there were: non-negative least squares of relative errors.

    Args:
        observations: with more and fewer of each of the three.
        server: its limits; its rates are not read.
    """
    from scipy.optimize import nnls

    counts = np.array([work_of(each.requests, server) for each in observations], float)
    seconds = np.array([each.seconds for each in observations])
    (step, prefill, decode), _ = nnls(counts / seconds[:, None], np.ones(len(seconds)))
    return replace(
        server,
        step_s=float(step),
        prefill_tokens_s=1 / max(float(prefill), _LEAST_S),
        decode_tokens_s=1 / max(float(decode), _LEAST_S),
    )


def work_of(requests: Sequence[Request], server: Speed) -> tuple[int, int, int]:
    """Steps, prefilled and decoded tokens, when all requests are there from the start."""
    engine = Engine(server)
    for request in requests:
        engine.add(replace(request, pinned=[]))
    steps = prefilled = decoded = 0
    while not engine.idle:
        step = engine.step()
        steps += 1
        prefilled += step.prefilled_tokens
        decoded += step.decoded_tokens
    return steps, prefilled, decoded


def faster(speed: Speed, times: float) -> Speed:
    """A machine with the same proportions that takes less time for everything."""
    return replace(
        speed,
        step_s=speed.step_s / times,
        prefill_tokens_s=speed.prefill_tokens_s * times,
        decode_tokens_s=speed.decode_tokens_s * times,
    )


def read_speed(path: Path) -> Speed:
    """The `speed` of a calibration's file."""
    return Speed(**json.loads(path.read_text(encoding="utf-8"))["speed"])
