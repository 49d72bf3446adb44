"""Turns whatever a call raises into an error of the contract. Callers never see the text of an unexpected exception."""

from __future__ import annotations

import logging
from typing import Any

from muserve.errors import InternalError, MuserveError
from muserve_server.interceptors.call import CallContext, Handler

__all__ = ["error_layer"]

logger = logging.getLogger(__name__)


async def error_layer(request: Any, call: CallContext, proceed: Handler) -> Any:
    """Lets errors of the contract through with the request id; logs all others whole and answers with a fixed text."""
    try:
        return await proceed(request, call)
    except MuserveError as error:
        error.request_id = call.request_id
        raise
    except Exception as error:
        extra = {
            "request_id": call.request_id,
            "method": call.method,
            "model": call.model,
            "version": call.version,
        }
        logger.exception("call failed", extra=extra)
        text = f"the server failed; its log has the reason under request id {call.request_id}"
        raise InternalError(text, request_id=call.request_id) from error
