"""Generated from proto/inference by `make proto`; not written by hand. Never imported by the client."""
