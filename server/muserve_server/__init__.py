"""Serves bundles over gRPC: repository, engine, batcher, tasks, services. Never imports torch."""
