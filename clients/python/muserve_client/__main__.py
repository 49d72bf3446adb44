"""`python -m muserve_client` is `muserve`."""

import sys

from muserve_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
