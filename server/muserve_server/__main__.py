"""`python -m muserve_server` is `muserve-server`."""

from muserve_server.app import main

if __name__ == "__main__":
    main()
