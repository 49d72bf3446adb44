"""Generated from proto/muserve/v1 by `make proto`; not written by hand."""
