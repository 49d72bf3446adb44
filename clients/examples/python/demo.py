"""Starts a server on the bundled models, calls every endpoint through the SDK, and writes what comes back under out/.

This is `make demo`. It needs muserve[server] and nothing else: no torch, no network.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from muserve_client import Client

OUT = Path("out")
EXIT_WITHIN_S = 30


@contextmanager
def running_server() -> Iterator[str]:
    """Runs `muserve-server` on free ports; yields its gRPC address."""
    command = [sys.executable, "-m", "muserve_server", "--grpc-port", "0", "--http-port", "0", "--drain-delay-s", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield f"localhost:{read_port(server)}"
        finally:
            server.send_signal(signal.SIGTERM)
            errors = server.communicate(timeout=EXIT_WITHIN_S)[1]
    if server.returncode != 0:
        sys.exit(f"the server ended with {server.returncode}:\n{errors}")


def read_port(server: subprocess.Popen[str]) -> int:
    """Waits for the log line that says on which port the server serves."""
    lines = []
    for line in server.stderr or ():
        lines.append(line)
        if '"serving"' in line:
            return int(json.loads(line)["grpc_port"])
    sys.exit("the server did not start:\n" + "".join(lines))


def show_models(client: Client) -> None:
    """Lists what the server has, and what one bundle says of itself."""
    models = client.models()
    for model in models:
        print(f"  {model.name}/{model.version}  {model.task}  {model.state}  {model.description}")
    for model in models:
        manifest = client.model(model.name, model.version).manifest
        for data in manifest.training_data if manifest else ():
            print(f"  {model.name}/{model.version} was trained on {data.name}: {data.split}")


def draw_images(client: Client) -> None:
    """Draws a sheet, single images, one of them again, and sevens."""
    sheet = client.images(count=100, seed=0, sheet=True)
    sheet.save(OUT / "digits.png")
    images = client.images(count=4, seed=42)
    images.save(OUT / "digits")
    again = client.images(count=1, seed=42, first_sample=2)
    if again[0].png != images[2].png:
        sys.exit("the same seed and sample gave other bytes")
    print(f"  {OUT}/digits.png, {OUT}/digits/: {images.info.model}/{images.info.version}, seed {images.info.seed}")
    client.images(count=10, labels="7", seed=1, sheet=True).save(OUT / "sevens.png")
    print(f"  {OUT}/sevens.png: ten sevens")


def main() -> None:
    """Runs the demo."""
    OUT.mkdir(exist_ok=True)
    started = time.monotonic()
    with running_server() as address, Client(address) as client:
        client.wait_until_ready(timeout_s=60)
        print(f"muserve-server {client.images().info.server_version} at {address}")
        print("models:")
        show_models(client)
        print("images:")
        draw_images(client)
    print(f"done in {time.monotonic() - started:.1f} s; the server has stopped")


if __name__ == "__main__":
    main()
