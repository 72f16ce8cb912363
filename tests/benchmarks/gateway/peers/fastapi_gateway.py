"""FastAPI and httpx as most write a gateway: slowapi twice (Redis), PyJWT in a dependency, one shared client."""

import logging
import os
import time
import uuid
from contextlib import asynccontextmanager

import httpx
import jwt
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from prometheus_client import Histogram
from slowapi import Limiter
from slowapi.util import get_remote_address

BACKEND, SECRET, ISSUER, LIMIT = (os.environ[name] for name in ("BACKEND", "JWT_SECRET", "JWT_ISSUER", "LIMIT"))
SECONDS = Histogram("request_seconds", "Time", ["method", "route", "status"])
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
log = logging.getLogger("gateway")


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with httpx.AsyncClient(base_url=BACKEND, limits=httpx.Limits(max_keepalive_connections=64)) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)
limiter = Limiter(key_func=get_remote_address, storage_uri=os.environ["REDIS_URL"])
app.state.limiter = limiter


def user_of(request: Request) -> str:
    return request.state.user["sub"]


def current_user(request: Request) -> dict:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        user = jwt.decode(token, SECRET, algorithms=["HS256"], audience="heartguard", issuer=ISSUER)
    except jwt.PyJWTError as error:
        raise HTTPException(401) from error
    if "patient:read" not in user["permissions"]:
        raise HTTPException(403)
    request.state.user = user
    return user


@app.middleware("http")
async def observe(request: Request, call_next):
    started = time.perf_counter()
    request_id = request.headers.get("x-request-id", str(uuid.uuid4()))
    request.state.request_id = request_id
    response = await call_next(request)
    response.headers["x-request-id"] = request_id
    seconds = time.perf_counter() - started
    SECONDS.labels(request.method, "/patients/{id}", response.status_code).observe(seconds)
    log.info("%s %s %s %.1fms", request_id, request.method, response.status_code, seconds * 1000)
    return response


@app.api_route("/patients/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@limiter.limit(f"{LIMIT}/minute")
@limiter.limit(f"{LIMIT}/minute", key_func=user_of)
async def forward(request: Request, path: str, user: dict = Depends(current_user)):  # noqa: B008
    headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
    headers["x-request-id"] = request.state.request_id
    answer = await request.app.state.client.request(
        request.method,
        f"/patients/{path}",
        params=request.query_params,
        headers=headers,
        content=await request.body(),
    )
    passed_back = {
        name: value
        for name, value in answer.headers.items()
        if name not in ("content-length", "connection", "server", "date")
    }
    return Response(answer.content, answer.status_code, passed_back)
