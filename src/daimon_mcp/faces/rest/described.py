"""The API's description as it is served: as JSON for programs, as a page for people, as text for models.

All of it is made from `openapi.json`, none of it needs a key, and the page asks nobody for anything else.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

FILE: Final = Path(__file__).with_name("openapi.json")
_FOLDER: Final = Path(__file__).parent
_BACKTICKS: Final = re.compile("`([^`]+)`")
_KEPT: Final = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}

Json = Mapping[str, Any]


class _Field(NamedTuple):
    name: str
    kind: str
    needed: bool
    words: str


class _Operation(NamedTuple):
    id: str
    method: str
    path: str
    summary: str
    words: str
    public: bool
    in_path: list[_Field]
    in_query: list[_Field]
    in_body: list[_Field]
    answer: str
    refusals: list[tuple[str, str]]


class _Shape(NamedTuple):
    name: str
    words: str
    fields: list[_Field]
    kind: str


@cache
def _document() -> Json:
    return cast("Json", orjson.loads(FILE.read_bytes()))


def described() -> ASGIApp:
    """Answers `/openapi.json`, `/v1/openapi.json`, `/docs`, `/llms.txt` and `/llms-full.txt`."""
    document = _Served(FILE.read_bytes, "application/json")
    texts: dict[str, ASGIApp] = {
        "/openapi.json": document,
        "/v1/openapi.json": document,
        "/docs": _Page(),
        "/llms.txt": _Served(lambda: short(_document()).encode(), "text/plain; charset=utf-8"),
        "/llms-full.txt": _Served(lambda: full(_document()).encode(), "text/plain; charset=utf-8"),
    }

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await Response(status_code=405, headers={"Allow": "GET, HEAD"})(scope, receive, send)
            return
        await texts[scope["path"]](scope, receive, send)

    return answer


class _Served:
    """One text, made at its first request, with a tag to ask by whether it has changed."""

    def __init__(self, make: Callable[[], bytes], kind: str) -> None:
        self._make = make
        self._kind = kind
        self._body: bytes | None = None
        self._headers: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._body is None:
            self._body = await asyncio.to_thread(self._make)
            tag = hashlib.sha256(self._body).hexdigest()[:32]
            self._headers = {**_KEPT, "ETag": f'"{tag}"'}
        request = Request(scope)
        if self._headers["ETag"] in request.headers.get("if-none-match", ""):
            response = Response(status_code=304, headers=self._headers)
        else:
            response = Response(self._body, headers=self._headers, media_type=self._kind)
        await response(scope, receive, send)


class _Page(_Served):
    """The description for people."""

    def __init__(self) -> None:
        super().__init__(self._html, "text/html; charset=utf-8")

    def _html(self) -> bytes:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        environment.filters["typed"] = _typed
        style = (_FOLDER / "static" / "docs.css").read_text("utf-8")
        document = _document()
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._policy = f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'; base-uri 'none'"
        page = environment.get_template("docs.html").render(
            info=document["info"], style=style, areas=areas(document), shapes=shapes(document)
        )
        return page.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._body is None:
            self._body = await asyncio.to_thread(self._make)
            tag = hashlib.sha256(self._body).hexdigest()[:32]
            self._headers = {**_KEPT, "ETag": f'"{tag}"', "Content-Security-Policy": self._policy}
        await super().__call__(scope, receive, send)


def _typed(text: str) -> Any:
    """HTML in which what stands between backticks is code."""
    from markupsafe import Markup, escape

    return Markup(_BACKTICKS.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  escaped just before


def areas(document: Json) -> list[tuple[str, list[_Operation]]]:
    """The operations by tag, in the order of the document."""
    found: dict[str, list[_Operation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found[operation["tags"][0]].append(_operation(path, method, operation))
    return list(found.items())


def _operation(path: str, method: str, operation: Json) -> _Operation:
    parameters: list[Json] = operation.get("parameters", [])
    body: Json = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    (answered,) = operation["responses"]["200"]["content"].values()
    schema: Json = answered["schema"]
    result: Json = schema.get("properties", {}).get("result", schema)
    return _Operation(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        words=operation.get("description", ""),
        public={} in operation.get("security", ()),
        in_path=_parameters(parameters, "path"),
        in_query=_parameters(parameters, "query"),
        in_body=_fields(body),
        answer=kind_of(result),
        refusals=[(status, each["description"]) for status, each in operation["responses"].items() if status >= "400"],
    )


def _parameters(parameters: Iterable[Json], place: str) -> list[_Field]:
    return [
        _Field(each["name"], kind_of(each["schema"]), bool(each.get("required")), each.get("description", ""))
        for each in parameters
        if each["in"] == place
    ]


def _fields(schema: Json) -> list[_Field]:
    needed = schema.get("required", ())
    return [
        _Field(name, kind_of(each), name in needed, each.get("description", ""))
        for name, each in schema.get("properties", {}).items()
    ]


def shapes(document: Json) -> list[_Shape]:
    """What results are made of, by name."""
    return [
        _Shape(name, schema.get("description", ""), _fields(schema), kind_of(schema))
        for name, schema in document["components"]["schemas"].items()
    ]


def kind_of(schema: Json) -> str:
    """A type in a few words: `string`, `list of Message`, `integer 1..100`, `"a" or "b"`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(kind_of(each) for each in choices))
    if "const" in schema:
        return orjson.dumps(schema["const"]).decode()
    if "enum" in schema:
        return " or ".join(orjson.dumps(each).decode() for each in schema["enum"])
    kinds = schema.get("type", "anything")
    if isinstance(kinds, list):
        return " or ".join(cast("list[str]", kinds))
    if kinds == "array":
        inner = kind_of(schema["items"]) if schema.get("items") else "anything"
        return f"list of {inner}"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kinds} {low}..{high}"
    return f"{kinds} ({schema['format']})" if "format" in schema else str(kinds)


def short(document: Json) -> str:
    """What there is, a line for each operation."""
    lines = [f"# {document['info']['title']}", "", document["info"]["description"], ""]
    lines += ["All that an operation takes and answers: /llms-full.txt, /openapi.json, or /docs for people.", ""]
    for tag, operations in areas(document):
        lines += [f"## {tag}", ""]
        lines += [f"- `{each.method} {each.path}`: {each.summary}" for each in operations]
        lines.append("")
    return "\n".join(lines)


def full(document: Json) -> str:
    """Everything, as text."""
    lines = [f"# {document['info']['title']}", "", document["info"]["description"], ""]
    lines += ["Send a key with every request: `Authorization: Bearer dm_…`.", ""]
    for tag, operations in areas(document):
        lines += [f"## {tag}", ""]
        for each in operations:
            lines += [f"### {each.method} {each.path}", "", f"{each.summary}." if each.summary else ""]
            lines += [each.words] if each.words else []
            lines += ["No key is needed where the operator allows that."] if each.public else []
            for title, fields in (("Path", each.in_path), ("Query", each.in_query), ("Body (JSON)", each.in_body)):
                if fields:
                    lines += ["", f"{title}:", *map(_line, fields)]
            lines += ["", f"Answers {each.answer}.", ""]
    lines += ["## Shapes", ""]
    for shape in shapes(document):
        lines += [f"### {shape.name}", "", *([shape.words, ""] if shape.words else [])]
        lines += [*map(_line, shape.fields), ""] if shape.fields else [shape.kind, ""]
    return "\n".join(lines)


def _line(field: _Field) -> str:
    needed = ", required" if field.needed else ""
    return f"- `{field.name}` ({field.kind}{needed})" + (f": {field.words}" if field.words else "")
