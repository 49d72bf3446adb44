"""`python -m muserve_server` is `muserve-server`."""

from muserve_server.command import main

if __name__ == "__main__":
    main()
