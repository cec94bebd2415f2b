import os
import time

import pytest

from tasks.errors import ServerUnavailable
from tasks.track.connection import _environment, connected
from tests.servers import OpenAIServer

NOBODY = "http://127.0.0.1:9"


def test_a_server_that_is_down_is_noticed_at_once():
    started = time.monotonic()
    # MLflow alone would try for minutes.
    with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:9"), connected(NOBODY):
        pass
    assert time.monotonic() - started < 30


def test_a_server_that_is_no_mlflow_server_is_not_used():
    with OpenAIServer() as server:
        url = server.url.removesuffix("/v1")
        with pytest.raises(ServerUnavailable, match="404"), connected(url):
            pass


def test_environment_variables_are_as_before_afterwards(monkeypatch):
    monkeypatch.setenv("RATCHET_TEST_SET", "before")
    with _environment({"RATCHET_TEST_SET": "during", "RATCHET_TEST_UNSET": "during"}):
        assert os.environ["RATCHET_TEST_SET"] == "during"
    assert os.environ["RATCHET_TEST_SET"] == "before"
    assert "RATCHET_TEST_UNSET" not in os.environ
