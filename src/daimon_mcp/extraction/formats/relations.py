"""Which part of an OOXML file is which (ECMA-376 part 2, relationships)."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from daimon_mcp.extraction.formats.package import Package
from daimon_mcp.extraction.formats.xml import Handler, parse_xml
from daimon_mcp.extraction.sink import Unreadable


@dataclass(frozen=True, slots=True)
class Relation:
    """`kind` is the last word of the relationship's type; `target` a part's name, or a URL when it is external."""

    kind: str
    target: str
    external: bool


class _Relations(Handler):
    NAMES = frozenset({"Relationship"})

    def __init__(self, base: str) -> None:
        self.found: dict[str, Relation] = {}
        self._base = base

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship":
            external = attributes.get("TargetMode") == "External"
            target = attributes.get("Target", "")
            if not external:
                target = posixpath.normpath(posixpath.join("/" + self._base, target)).lstrip("/")
            kind = attributes.get("Type", "").rpartition("/")[2]
            self.found[attributes.get("Id", "")] = Relation(kind, target, external)


def relations(package: Package, part: str) -> dict[str, Relation]:
    """What `part` ("" for the package itself) refers to, by id."""
    folder, _, name = part.rpartition("/")
    path = posixpath.join(folder, "_rels", name + ".rels")
    if path not in package:
        return {}
    handler = _Relations(folder)
    parse_xml(package.chunks(path), handler)
    return handler.found


def main_part(package: Package) -> str:
    """The name of the document itself. Raises Unreadable("damaged") when there is none."""
    for relation in relations(package, "").values():
        if relation.kind == "officeDocument" and relation.target in package:
            return relation.target
    raise Unreadable("damaged")
