"""Qdrant's REST API, as far as Bowline uses it, on the vendor's own `qdrant-client`.

No Qdrant server can be had from a package registry. This stands in for one: every request is read by the models that the
vendor generates from its OpenAPI description, which forbid what the API does not have, and answered by the vendor's own
implementation of it in memory. What it cannot show: the server's durability, its cluster, and its approximate index.

Prints `{"ready": true, "url": …}`. Refuses requests without the key that the environment variable QDRANT_KEY holds.
"""

import json
import os
import re
import sys
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from qdrant_client import QdrantClient
from qdrant_client.http import models
from pydantic import TypeAdapter, ValidationError

# It says of every payload index that it has none.
warnings.simplefilter("ignore")
client = QdrantClient(":memory:")
lock = Lock()
key = os.environ["QDRANT_KEY"]


class Refused(Exception):
    def __init__(self, status, error):
        super().__init__(error)
        self.status = status


def exists(name):
    if not client.collection_exists(name):
        raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")


def collection(name, _):
    exists(name)
    vectors = client.get_collection(name).config.params.vectors
    return {"status": "green", "config": {"params": {"vectors": vectors.model_dump(mode="json", exclude_none=True)}}}


def create(name, body):
    if client.collection_exists(name):
        raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
    request = models.CreateCollection.model_validate(body)
    return client.create_collection(name, vectors_config=request.vectors)


def index(name, body):
    exists(name)
    request = models.CreateFieldIndex.model_validate(body)
    return client.create_payload_index(name, request.field_name, request.field_schema)


def upsert(name, body):
    exists(name)
    request = models.PointsList.model_validate(body)
    return client.upsert(
        name, request.points, update_filter=request.update_filter, update_mode=request.update_mode
    )


def retrieve(name, body):
    exists(name)
    request = models.PointRequest.model_validate(body)
    return client.retrieve(name, request.ids, with_payload=request.with_payload, with_vectors=request.with_vector)


def query(name, body):
    exists(name)
    request = models.QueryRequest.model_validate(body)
    return client.query_points(
        name,
        query=request.query,
        query_filter=request.filter,
        search_params=request.params,
        limit=request.limit,
        with_payload=request.with_payload,
        with_vectors=request.with_vector,
    )


def count(name, body):
    exists(name)
    request = models.CountRequest.model_validate(body)
    return client.count(name, exact=request.exact)


def delete(name, body):
    exists(name)
    request = TypeAdapter(models.PointsSelector).validate_python(body)
    return client.delete(name, request)


ROUTES = {
    ("GET", ""): collection,
    ("PUT", ""): create,
    ("PUT", "/index"): index,
    ("PUT", "/points"): upsert,
    ("POST", "/points"): retrieve,
    ("POST", "/points/query"): query,
    ("POST", "/points/count"): count,
    ("POST", "/points/delete"): delete,
}


def plain(result):
    if isinstance(result, list):
        return [plain(one) for one in result]
    return result.model_dump(mode="json", exclude_none=True) if hasattr(result, "model_dump") else result


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if self.headers.get("Authorization") != f"Bearer {key}":
            # Servers have been seen to repeat what they were sent.
            return self.answer(403, {"status": {"error": f"Forbidden: {self.headers.get('Authorization')}"}})
        path = self.path.split("?")[0]
        if path == "/":
            return self.answer(200, {"title": "qdrant - vector search engine", "version": "1.20.0"})
        found = re.fullmatch(r"/collections/([A-Za-z0-9_.-]+)(/.*)?", path)
        route = found and ROUTES.get((self.command, found[2] or ""))
        if not route:
            return self.answer(404, {"status": {"error": f"no route {self.command} {path}"}})
        if (found[2] or "").startswith("/points") and self.command == "PUT" and "wait=true" not in self.path:
            return self.answer(400, {"status": {"error": "this stand-in cannot say what is not waited for"}})
        try:
            with lock:
                result = route(found[1], json.loads(body) if body else None)
            self.answer(200, {"result": plain(result), "status": "ok", "time": 0.0})
        except Refused as refused:
            self.answer(refused.status, {"status": {"error": str(refused)}, "time": 0.0})
        except (ValidationError, ValueError) as error:
            self.answer(400, {"status": {"error": f"Format error in JSON body: {error}"}, "time": 0.0})

    do_GET = do_PUT = do_POST = handle_any


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(json.dumps({"ready": True, "url": f"http://127.0.0.1:{server.server_port}"}), flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(0)
