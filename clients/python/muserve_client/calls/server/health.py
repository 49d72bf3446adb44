"""grpc.health.v1.Check, without grpcio-health-checking.

That would be a fourth dependency of the bare client, for two messages of one field each. They have the wire format of
protobuf's own `StringValue` (the service) and `Int32Value` (the status, an enum).
"""

from __future__ import annotations

from google.protobuf import wrappers_pb2

from muserve_client.flows import Method

__all__ = ["CHECK", "SERVING"]

SERVING = 1
"""HealthCheckResponse.ServingStatus.SERVING."""
CHECK = Method(
    "/grpc.health.v1.Health/Check", wrappers_pb2.StringValue.SerializeToString, wrappers_pb2.Int32Value.FromString
)
"""Takes the name of a service, returns its status."""
