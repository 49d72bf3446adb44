"""What graphs did, in the protocol's words."""

from __future__ import annotations

from muserve.inference import model_statistics_pb2
from muserve_server.engine import Tally
from muserve_server.services.open_inference.names import ServedGraph

__all__ = ["statistics_of"]


def statistics_of(graph: ServedGraph) -> model_statistics_pb2.ModelStatistics:
    """Counts what a graph did since it was loaded, for callers of this protocol and of the typed API."""
    stats = graph.model.batcher(graph.spec.role).stats
    shares = stats.shares
    return model_statistics_pb2.ModelStatistics(
        name=graph.name,
        version=graph.version,
        last_inference=int(stats.last_run_at_s * 1e3),
        inference_count=sum(rows * tally.count for rows, tally in stats.runs.items()),
        execution_count=sum(tally.count for tally in stats.runs.values()),
        inference_stats=model_statistics_pb2.InferStatistics(
            success=_duration(stats.succeeded),
            fail=_duration(stats.failed),
            queue=_duration(stats.waits),
            compute_input=_no_time(shares),
            compute_infer=_duration(shares),
            compute_output=_no_time(shares),
        ),
        batch_stats=[
            model_statistics_pb2.InferBatchStatistics(
                batch_size=rows,
                compute_input=_no_time(tally),
                compute_infer=_duration(tally),
                compute_output=_no_time(tally),
            )
            for rows, tally in sorted(stats.runs.items())
        ],
    )


def _duration(tally: Tally) -> model_statistics_pb2.StatisticDuration:
    return model_statistics_pb2.StatisticDuration(count=tally.count, ns=int(tally.seconds * 1e9))


def _no_time(tally: Tally) -> model_statistics_pb2.StatisticDuration:
    """Copying rows into a batch and out of it is timed as part of the run."""
    return model_statistics_pb2.StatisticDuration(count=tally.count)
