"""The server put together: its routes, its limit on requests, and errors of one line."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from nlp_suite.errors import UserError
from nlp_suite.export import ExportedModel
from nlp_suite.serving.batching import BusyError
from nlp_suite.serving.endpoints import Endpoints

MAX_BODY = 32 * 2**20
"""Largest request in bytes: an image of 20 MiB in base64 fits."""


def make_app(models: Mapping[str, ExportedModel]) -> FastAPI:
    """Makes the server of some models.

    Args:
        models: The models by the name under which they are served.

    Returns:
        The application; it answers while its lifespan runs.
    """
    endpoints = Endpoints(models)
    app = FastAPI(title="nlp_suite", lifespan=endpoints.lifespan)
    app.add_api_route("/v1/models/{name}:predict", endpoints.predict, methods=["POST"])
    app.add_api_route("/models", endpoints.models)
    app.add_api_route("/healthz", endpoints.health)
    app.add_api_route("/metrics", endpoints.metrics, response_model=None)
    app.add_api_route("/", endpoints.page, include_in_schema=False, response_model=None)
    app.add_middleware(BodyLimit)
    _answer_errors_in_one_line(app)
    return app


class BodyLimit:
    """Refuses a request that is too long, or does not say how long it is, before reading it.

    Args:
        app: What answers the others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        app = self._app
        if scope["type"] == "http" and scope["method"] == "POST":
            headers = Request(scope).headers
            length = headers.get("content-length", "")
            # Of a request with both headers, chunks are what is read.
            if "transfer-encoding" in headers or not length.isdecimal():
                app = _error(411, "The header Content-Length is missing.")
            elif int(length) > MAX_BODY:
                app = _error(413, f"A request must have at most {MAX_BODY} bytes. It has {length}.")
        await app(scope, receive, send)


def _answer_errors_in_one_line(app: FastAPI) -> None:
    """Gives every error as `{"error": ...}`, in the way of TensorFlow Serving."""

    @app.exception_handler(UserError)
    async def refused(_: Request, error: UserError) -> JSONResponse:
        return _error(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _error(400, f"`{where}`: {first['msg']}.")

    @app.exception_handler(BusyError)
    async def busy(_: Request, __: BusyError) -> JSONResponse:
        return _error(503, "Too many requests are waiting. Try again later.")

    @app.exception_handler(HTTPException)
    async def not_found(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, error.detail)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        logging.getLogger(__name__).error("A model failed.", exc_info=error)
        return _error(500, f"The model failed with {type(error).__name__}.")


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)
