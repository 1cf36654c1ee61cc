"""Which format an attachment is in, by what its sender says. Cheap: no content is looked at, nothing is imported."""

from __future__ import annotations

_TYPES = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "csv",
    "text/calendar": "ics",
    "application/ics": "ics",
    "text/vcard": "vcard",
    "text/x-vcard": "vcard",
    "text/directory": "vcard",
    "message/rfc822": "eml",
    "message/global": "eml",
    "application/pdf": "pdf",
    "application/x-pdf": "pdf",
    "application/rtf": "rtf",
    "text/rtf": "rtf",
    "text/richtext": "text",
    "application/json": "text",
    "application/x-ndjson": "text",
    "application/xml": "text",
    "application/yaml": "text",
    "application/x-yaml": "text",
    "application/toml": "text",
    "application/javascript": "text",
    "application/sql": "text",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template": "docx",
    "application/vnd.ms-word.document.macroenabled.12": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.template": "xlsx",
    "application/vnd.ms-excel.sheet.macroenabled.12": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.presentationml.slideshow": "pptx",
    "application/vnd.oasis.opendocument.text": "odf",
    "application/vnd.oasis.opendocument.spreadsheet": "odf",
    "application/vnd.oasis.opendocument.presentation": "odf",
}
_EXTENSIONS = {
    "html": "html", "htm": "html", "xhtml": "html",
    "csv": "csv", "tsv": "csv", "tab": "csv",
    "ics": "ics", "ical": "ics", "ifb": "ics", "vcs": "ics",
    "vcf": "vcard", "vcard": "vcard",
    "eml": "eml",
    "pdf": "pdf",
    "rtf": "rtf",
    "docx": "docx", "docm": "docx", "dotx": "docx",
    "xlsx": "xlsx", "xlsm": "xlsx", "xltx": "xlsx",
    "pptx": "pptx", "pptm": "pptx", "ppsx": "pptx",
    "odt": "odf", "ods": "odf", "odp": "odf", "ott": "odf",
    **dict.fromkeys(
        (
            "txt", "text", "md", "markdown", "rst", "json", "jsonl", "ndjson", "xml", "yaml", "yml", "toml", "ini",
            "cfg", "conf", "log", "sql", "diff", "patch", "tex", "srt", "py", "js", "ts", "css", "sh", "c", "h", "cpp",
            "java", "go", "rs", "rb", "php",
        ),
        "text",
    ),
}  # fmt: skip
# Programs that do not know a type say text/plain for everything that is text.
_REFINES_PLAIN = frozenset({"html", "csv", "ics", "vcard", "rtf"})
_NEVER = frozenset({"image", "audio", "video", "font", "model", "multipart"})


def supported(content_type: str, filename: str) -> str | None:
    """The format to read such an attachment as (a module of `formats/`), None for one without text.

    The type decides, and the extension where the type says nothing (application/octet-stream, an unknown one) or no
    more than text/plain.
    """
    kind = content_type.partition(";")[0].strip().lower()
    extension = filename.rpartition(".")[2].strip().lower() if "." in filename else ""
    by_name = _EXTENSIONS.get(extension)
    if kind == "text/plain":
        return by_name if by_name in _REFINES_PLAIN else "text"
    if kind in _TYPES:
        return _TYPES[kind]
    top = kind.partition("/")[0]
    if top in _NEVER:
        return None
    if by_name is None and (top in {"text", "message"} or kind.endswith(("+json", "+xml", "+yaml"))):
        return "text"
    return by_name
