"""`python -m muserve_export` is `muserve-export`; torchrun needs it: torchrun -m muserve_export train ..."""

from muserve_export.cli import main

if __name__ == "__main__":
    main()
