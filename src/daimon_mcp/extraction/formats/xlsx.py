"""XLSX (ECMA-376, SpreadsheetML): each sheet under its name, a line for each row, values as they were last computed."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from daimon_mcp.extraction.formats.csv import MAX_CELL, cell
from daimon_mcp.extraction.formats.package import Package
from daimon_mcp.extraction.formats.relations import main_part, relations
from daimon_mcp.extraction.formats.xml import Handler, attribute, parse_xml
from daimon_mcp.extraction.sink import Sink, Unreadable

MAX_SHEETS = 200
MAX_COLUMNS = 1000
_MAX_GAP = 20  # empty cells written between two that are not
_DATES = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
# In a number format: text in quotes, an escaped character, and colours and conditions in brackets (not [h]).
_NOT_CODES = re.compile(r'"[^"]*"|\\.|_.|\[(?![hms]+\])[^\]]*\]')
_COLUMN = re.compile(r"[A-Z]{1,3}")
_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - a cell has no time zone
_EPOCH_1904 = datetime(1904, 1, 1)  # noqa: DTZ001
_LAST_DAY = 2_958_466  # the end of the year 9999


class _Workbook(Handler):
    """Names and relation ids of the sheets, and which day is the first."""

    NAMES = frozenset({"sheet", "workbookPr"})

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str, bool]] = []
        self.epoch = _EPOCH

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet":
            hidden = attributes.get("state", "visible") != "visible"
            self.sheets.append((attributes.get("name", ""), attribute(attributes, "id") or "", hidden))
        elif name == "workbookPr" and attributes.get("date1904") in {"1", "true"}:
            self.epoch = _EPOCH_1904


class _Styles(Handler):
    """Which cell styles show a number as a time."""

    NAMES = frozenset({"numFmt", "cellXfs", "xf"})

    def __init__(self) -> None:
        self.times: list[bool] = []
        self._formats: dict[str, bool] = {}
        self._in_cells = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "numFmt":
            code = _NOT_CODES.sub("", attributes.get("formatCode", "")[:500]).lower()
            self._formats[attributes.get("numFmtId", "")] = bool(set(code) & set("dmyhs")) and "general" not in code
        elif name == "cellXfs":
            self._in_cells = True
        elif name == "xf" and self._in_cells:
            number = attributes.get("numFmtId", "0")
            known = number.isdecimal() and len(number) < 6 and int(number) in _DATES
            self.times.append(self._formats.get(number, known))

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._in_cells = False


class _Strings(Handler):
    """The table of shared strings. Readings of Japanese characters (rPh) are left out."""

    NAMES = frozenset({"t", "rPh", "si"})

    def __init__(self, sink: Sink) -> None:
        self.strings: list[str] = []
        self._sink = sink
        self._parts: list[str] = []
        self._size = 0
        self._is_text = False
        self._phonetic = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "t":
            self._is_text = not self._phonetic
        elif name == "rPh":
            self._phonetic = True

    def end(self, name: str) -> None:
        if name == "t":
            self._is_text = False
        elif name == "rPh":
            self._phonetic = False
        elif name == "si":
            self.strings.append(cell("".join(self._parts)))
            self._parts.clear()
            self._size = 0
            if not len(self.strings) % 1000:
                self._sink.check()

    def text(self, data: str) -> None:
        if self._is_text and self._size <= MAX_CELL:
            self._parts.append(data[: MAX_CELL + 1])
            self._size += len(data)


def _column(reference: str) -> int | None:
    """The column of `AB12`, from 0."""
    match = _COLUMN.match(reference)
    if not match:
        return None
    number = 0
    for letter in match[0]:
        number = number * 26 + ord(letter) - 64
    return number - 1


class _Sheet(Handler):
    """Turns the events of one sheet into lines."""

    NAMES = frozenset({"c", "v", "t", "f", "row"})

    def __init__(self, sink: Sink, strings: list[str], times: list[bool], epoch: datetime) -> None:
        self.rows = 0
        self.cut = False  # cells were left out
        self._sink = sink
        self._strings = strings
        self._times = times
        self._epoch = epoch
        self._row: list[str] = []
        self._type = ""
        self._style = ""
        self._column: int | None = None
        self._value: list[str] = []
        self._formula: list[str] = []
        self._size = 0
        self._into: list[str] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c":
            self._type = attributes.get("t", "n")
            self._style = attributes.get("s", "")
            self._column = _column(attributes.get("r", ""))
            self._value, self._formula = [], []
            self._size = 0
        elif name in {"v", "t"}:
            self._into = self._value
        elif name == "f":
            self._into = self._formula
        elif name == "row":
            self._row = []

    def end(self, name: str) -> None:
        if name in {"v", "t", "f"}:
            self._into = None
        elif name == "c":
            self._cell()
        elif name == "row":
            self.rows += 1
            if any(self._row):
                self._sink.line("\t".join(self._row).rstrip("\t"))
            elif not self.rows % 1000:
                self._sink.check()

    def text(self, data: str) -> None:
        if self._into is not None and self._size <= MAX_CELL:
            self._into.append(data[: MAX_CELL + 1])
            self._size += len(data)

    def _cell(self) -> None:
        value = self._shown("".join(self._value))
        if not value and self._formula:
            value = "=" + "".join(self._formula)  # never computed
        if not value:
            return
        gap = 0 if self._column is None else self._column - len(self._row)
        # A sheet may put its only cell in the last column there is.
        self._row.extend([""] * min(max(gap, 0), _MAX_GAP))
        if len(self._row) >= MAX_COLUMNS:
            self.cut = True
            return
        self._row.append(cell(value))

    def _shown(self, raw: str) -> str:
        match self._type:
            case "s":
                index = int(raw) if raw.isdecimal() and len(raw) < 10 else -1
                return self._strings[index] if 0 <= index < len(self._strings) else ""
            case "b":
                return {"1": "TRUE", "0": "FALSE"}.get(raw, raw)
            case "n":
                return self._number(raw)
            case _:
                return raw

    def _number(self, raw: str) -> str:
        if len(raw) > 40:
            return raw
        is_time = self._style.isdecimal() and len(self._style) < 7 and self._is_time(int(self._style))
        if not is_time and raw.isdecimal():
            return raw
        try:
            number = float(raw)
        except ValueError:
            return raw
        if is_time and 0 <= number < _LAST_DAY:
            return _moment(number, self._epoch)
        return format(number, ".15g")

    def _is_time(self, style: int) -> bool:
        return style < len(self._times) and self._times[style]


def _moment(number: float, epoch: datetime) -> str:
    """Days since the epoch as a date, a time of day, or both."""
    # The year 1900 was no leap year, but the first such program took it for one.
    days = number + 1 if epoch == _EPOCH and 1 <= number < 60 else number
    try:
        moment = epoch + timedelta(seconds=round(days * 86_400))
    except OverflowError:
        return format(number, ".15g")
    if number < 1:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%Y-%m-%d}" if number == int(number) else f"{moment:%Y-%m-%d %H:%M:%S}"


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write every sheet in order; hidden ones say so."""
    package = Package(content)
    main = main_part(package)
    workbook, styles, strings = _Workbook(), _Styles(), _Strings(sink)
    parse_xml(package.chunks(main), workbook)
    sink.facts["sheets"] = len(workbook.sheets)
    related = relations(package, main)
    for relation in related.values():
        if relation.target in package and not relation.external:
            if relation.kind == "styles":
                parse_xml(package.chunks(relation.target), styles)
            elif relation.kind == "sharedStrings":
                parse_xml(package.chunks(relation.target), strings)
    sink.truncated = len(workbook.sheets) > MAX_SHEETS
    readable = 0
    for name, identifier, hidden in workbook.sheets[:MAX_SHEETS]:
        relation = related.get(identifier)
        if not relation or relation.kind != "worksheet" or relation.target not in package:
            continue  # a chart has a sheet too
        readable += 1
        sheet = _Sheet(sink, strings.strings, styles.times, workbook.epoch)
        sink.line(f"\n[Sheet {cell(name)}{', hidden' if hidden else ''}]")
        parse_xml(package.chunks(relation.target), sheet)
        sink.truncated = sink.truncated or sheet.cut
    if not readable:
        raise Unreadable("damaged")
