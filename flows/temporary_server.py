"""Prefect's temporary server, which lives exactly as long as the command that started it."""

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import uvicorn
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

_NOT_STARTED = 3
"""Exit code after which Prefect tries another port."""
_STOP_S = 5.0


class TemporaryServer(SubprocessASGIServer):
    """The server that Prefect would start itself, and finds once this one is started.

    A terminal, `timeout` and systemd signal every process of a command. Without its server Prefect
    can't end the run: it tries again for minutes and waits at the exit for ever. So this one hears
    no such signal, and ends when its standard input does: with the command, however that ends.
    """

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        temporary = ("PREFECT__SERVER_EPHEMERAL", "PREFECT__SERVER_FINAL")
        return subprocess.Popen(
            [sys.executable, "-m", "flows.temporary_server", str(self.port)],
            stdin=subprocess.PIPE,
            env=os.environ | {"PREFECT_UI_ENABLED": "0"} | dict.fromkeys(temporary, "1") | settings,
        )

    def stop(self) -> None:
        """End the server, after it has written what it was told."""
        if self.server_process is not None and self.server_process.stdin is not None:
            self.server_process.stdin.close()
            try:
                self.server_process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.server_process.kill()
        super().stop()


def main() -> None:
    """Serve on the port of the command line until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    server = uvicorn.Server(
        uvicorn.Config(
            "prefect.server.api.server:create_app",
            factory=True,
            port=int(sys.argv[1]),
            log_level="error",
            lifespan="on",
        )
    )

    def wait_for_the_end() -> None:
        # Not by sys.stdin, whose lock a thread must not hold when Python ends.
        os.read(0, 1)
        server.should_exit = True

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    # In the main thread it would hear the signals again.
    serving = threading.Thread(target=server.run)
    serving.start()
    serving.join()
    sys.exit(0 if server.started else _NOT_STARTED)


if __name__ == "__main__":
    main()
