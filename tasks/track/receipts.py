"""What a server shows already: a small file beside each thing that was logged."""

from pathlib import Path

from tasks.store import read_json, write_json

RECEIPT = "mlflow.json"


def read_receipt(directory: Path, *, tracking_uri: str) -> str | None:
    """Run id of what is in this directory; None when this server doesn't show it yet."""
    receipt = read_json(directory / RECEIPT)
    if not isinstance(receipt, dict) or receipt.get("tracking_uri") != tracking_uri:
        return None
    return str(receipt["run_id"])


def write_receipt(directory: Path, *, tracking_uri: str, run_id: str) -> None:
    """Note that the server shows what is in this directory."""
    write_json(directory / RECEIPT, {"run_id": run_id, "tracking_uri": tracking_uri})


def waiting(room: Path, document: str, *, tracking_uri: str) -> list[Path]:
    """Finished directories of a room without a receipt of this server, oldest first.

    Args:
        room: a directory with one directory a digest.
        document: the file that a finished directory has.
        tracking_uri: URL of the server.
    """
    found = [
        path
        for path in room.glob(f"*/{document}")
        if not path.parent.name.startswith(".")
        and read_receipt(path.parent, tracking_uri=tracking_uri) is None
    ]
    return [path.parent for path in sorted(found, key=lambda path: path.stat().st_mtime)]
