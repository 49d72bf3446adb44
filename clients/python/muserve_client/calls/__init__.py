"""Calls, one package a task; and what another package needs to bring calls of its own.

A call is a flow, a generator that yields RPCs and returns a result: `Client.run` and `AsyncClient.run` drive it. A
package that also adds commands to `muserve`, or checks to `muserve verify`, names its `Calls` by an entry point:

    [project.entry-points."muserve.calls"]
    sketch = "acme_sketch.calls:CALLS"
"""

from muserve_client.calls.kind import Calls, Command
from muserve_client.calls.probes import Answer, Probe, answer_of, copy_of, one_sample
from muserve_client.calls.registry import installed_calls
from muserve_client.contents import content_of
from muserve_client.fields import Fields
from muserve_client.flags import add_model_flags, client_arguments
from muserve_client.flows import OPTIONS, Flow, InvalidFlowError, Method, Pause, Rpc, Work, method_of
from muserve_client.info import Info, read_info
from muserve_client.naming import name_files
from muserve_client.pictures import Picture
from muserve_client.saving import write_file

__all__ = [
    "OPTIONS",
    "Answer",
    "Calls",
    "Command",
    "Fields",
    "Flow",
    "Info",
    "InvalidFlowError",
    "Method",
    "Pause",
    "Picture",
    "Probe",
    "Rpc",
    "Work",
    "add_model_flags",
    "answer_of",
    "client_arguments",
    "content_of",
    "copy_of",
    "installed_calls",
    "method_of",
    "name_files",
    "one_sample",
    "read_info",
    "write_file",
]
