"""Calls a server over and over until a line comes in, then prints what happened as JSON: no test imports this."""

from __future__ import annotations

import hashlib
import json
import sys
import threading

from muserve_client import Client


def main() -> None:
    """Calls, and says so once the first answer is there."""
    enough = threading.Event()

    def wait() -> None:
        sys.stdin.readline()
        enough.set()

    threading.Thread(target=wait, daemon=True).start()
    calls, media, errors = 0, set(), []
    with Client(sys.argv[1], timeout_s=60) as client:
        is_last = False
        while not is_last:
            is_last = enough.is_set()  # one call more: after all that happened until then
            try:
                images = client.images(4, seed=11)
            except Exception as error:  # noqa: BLE001 - each kind of failure is a finding
                errors.append(repr(error))
            else:
                media.add(hashlib.sha256(b"".join(image.png for image in images)).hexdigest())
            calls += 1
            if calls == 1:
                print("called", flush=True)
    print(json.dumps({"calls": calls, "media": sorted(media), "errors": errors}))


if __name__ == "__main__":
    main()
