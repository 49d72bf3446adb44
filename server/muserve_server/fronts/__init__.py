"""The fronts: who speaks HTTP/2. Each is a thin adapter over one table of methods."""

from muserve_server.fronts.addresses import check_address
from muserve_server.fronts.front import Front, FrontError
from muserve_server.fronts.grpcio import GrpcioFront, GrpcioOptions
from muserve_server.fronts.table import Method, Table, make_table

__all__ = ["Front", "FrontError", "GrpcioFront", "GrpcioOptions", "Method", "Table", "check_address", "make_table"]
