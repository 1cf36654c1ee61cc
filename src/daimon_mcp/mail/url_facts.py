"""What can be told from a URL without following it: its host, its site, whether it carries a secret, who counts."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

from daimon_mcp.mail.url_hosts import host_of, plain_host, split_web_url

_MAX_URL = 2_000
"""Characters of a URL's path and query that are looked at; the rest of a longer one is kept and ignored."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}):(.{0,2000})", re.DOTALL)
_REST = re.compile(r"([^?#]{0,2000})(?:\?([^#]{0,2000}))?(?:#(.{0,500}))?", re.DOTALL)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]{2,45}\]")

# Hosts that stand between a mail and the page it means. A prefix of a host is written with its dot.
_TRACKER_HOSTS = (
    "list-manage.com", "mandrillapp.com", "sendgrid.net", "awstrack.me", "hubspotlinks.com", "hubspotemail.net",
    "mjt.lu", "pstmrk.it", "sparkpostmail.com", "sendibt2.com", "sendibm1.com", "mailgun.org", "customeriomail.com",
    "exct.net", "klclick.com", "klclick1.com", "rs6.net", "cmail19.com", "cmail20.com", "createsend1.com",
    "intercom-clicks.com",
    "safelinks.protection.outlook.com", "urldefense.com", "urldefense.proofpoint.com", "mailchimp.com", "esputnik.com",
    "convertkit-mail.com", "convertkit-mail2.com", "mlsend.com", "emltrk.com", "clicks.mlsend.com", "getresponse.com",
    "sendpulse.com", "acemlna.com", "activehosted.com", "braze.com", "iterable.com", "link.mail.beehiiv.com",
    "linkprotect.cudasvc.com", "secure-web.cisco.com", "mimecastprotect.com", "mailerlite.com",
    "pardot.com", "marketo.com", "mktoweb.com", "bmetrack.com", "e2ma.net", "sailthru.com", "vero.co",
)  # fmt: skip
# Short names hide where they lead: they are trackers too, but excuse no text that shows another host.
_SHORTENERS = (
    "t.co",
    "bit.ly",
    "lnkd.in",
    "tinyurl.com",
    "ow.ly",
    "buff.ly",
    "is.gd",
    "goo.gl",
    "rebrand.ly",
    "cutt.ly",
)
_FILE_ENDINGS = frozenset({"md", "py", "sh", "rs", "zip", "mov"})
_RESERVED = frozenset({"example", "test", "invalid", "localhost", "local", "internal", "onion", "arpa"})
_TRACKER_LABELS = frozenset(
    ("click", "clicks", "clk", "track", "tracking", "trk", "links", "link", "lnk", "email-link", "mailtrack", "ablink")
)
_TRACKER_PATH = re.compile(
    r"/(?:ls|wf|track|tracking|f/a|e|cl|t)/(?:click|c|open|cl|t|o)(?:[/.]|$)|/CL0/|/ls/click|/track/click|/c/eJ|/lnk/|/e3t/|/ss/c/"
    r"|/uni/(?:ls|ss|sa)|/click(?:/|\.php|$)",
)
_WRAPPED = re.compile(
    r"(?:^|&)(?:url|u|q|target|redirect|dest|destination|link)=(https?(?:%3a|:)(?:%2f|/){2}[^&]{1,1500})", re.I
)
_WRAPPED_PATH = re.compile(r"/(?:CL0|v3/_{2}|3s|L0)/?(https?[:%][^ ]{4,1500}?)(?:__;|/\d/|$)", re.I)

_SECRET_NAME = re.compile(
    r"(?:^|[_.-])(?:token|tok|secret|code|otp|key|hash|sig|signature|ticket|nonce|t|k|jwt|oob_?code|confirmation|confirm|invite"
    r"|invitation|verify|verification|auth|passcode|pin|uuid|tk|challenge|flow|reset|magic|activation|activate|login)$"
    r"|token|secret|hash|code$|key$",
    re.I,
)
_SPLIT_SEGMENTS = re.compile(r"[/.]")
_OPAQUE = re.compile(r"[A-Za-z0-9_~=%-]{16,}")


@dataclass(frozen=True, slots=True)
class UrlFacts:
    """One URL taken apart.

    `host` is the one a browser goes to, lower case without port, empty when there is none; `path` is as written, with
    the route that follows a `#`; `secret` says that it carries a token. `tracker` says that the host only counts a
    click, `known` that it is the host of a company that does so for others; `target` is the URL it goes on to when
    that can be read from it.
    """

    scheme: str
    host: str
    path: str
    query: str
    secret: bool
    tracker: bool
    known: bool
    target: str


@lru_cache(maxsize=1)
def _suffixes() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The public suffix list that tldextract carries, without the package itself: plain, wildcard parents, exceptions.

    Its import costs a fifth of a second, because it could also fetch; reading its file costs milliseconds. Without the
    file the two-label rule below it has to do.
    """
    plain: set[str] = set()
    wild: set[str] = set()
    exceptions: set[str] = set()
    spec = find_spec("tldextract")
    if spec is not None and spec.origin is not None:
        try:
            text = (Path(spec.origin).parent / ".tld_set_snapshot").read_text(encoding="utf-8")
        except OSError:
            text = ""
        for rule in text.splitlines():
            if not rule or rule.startswith("//"):
                continue
            name = rule.strip()
            if name.startswith("*."):
                wild.add(name[2:])
            elif name.startswith("!"):
                exceptions.add(name[1:])
            else:
                plain.add(name)
    return frozenset(plain), frozenset(wild), frozenset(exceptions)


def unicode_host(host: str) -> str:
    """A host with its `xn--` labels in their own script, unchanged when one of them cannot be read."""
    if "xn--" not in host:
        return host
    labels: list[str] = []
    for label in host.split("."):
        if label.startswith("xn--"):
            try:
                label = label[4:].encode("ascii").decode("punycode")
            except (UnicodeError, ValueError, OverflowError):
                return host
        labels.append(label)
    return ".".join(labels)


@lru_cache(maxsize=2_048)
def registrable_domain(host: str) -> str:
    """The part of a host that somebody registered (`a.b.co.uk` -> `b.co.uk`), by the public suffix list.

    Suffixes that companies hand out (`github.io`) count as suffixes. An address or a suffix alone is its own domain.
    """
    host = host[:253].strip(".").lower()
    if not host or _ADDRESS.fullmatch(host):
        return host
    plain, wild, exceptions = _suffixes()
    labels = host.split(".")
    shown = unicode_host(host).split(".")
    if len(shown) != len(labels):
        shown = labels
    suffix = 1
    for start in range(len(shown)):
        name = ".".join(shown[start:])
        if name in exceptions:
            suffix = len(shown) - start - 1
            break
        if name in plain or ".".join(shown[start + 1 :]) in wild:
            suffix = len(shown) - start
            break
    return ".".join(labels[-(suffix + 1) :])


def looks_random(text: str) -> bool:
    """Whether a stretch of a URL looks made by a machine: 16 characters or more, a digit, 3 bits a character."""
    if len(text) < 16 or not any(char.isdigit() for char in text):
        return False
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) >= 3.0


def _carries_secret(path: str, query: str, fragment: str) -> bool:
    for part in (query, fragment.partition("?")[2] or fragment):
        for pair in part.split("&", 40)[:40]:
            name, equals, value = pair.partition("=")
            if not equals:
                continue
            if looks_random(value) or (len(value) >= 4 and "http" not in value[:8] and _SECRET_NAME.search(name[:40])):
                return True
    segments = _SPLIT_SEGMENTS.split(path + "/" + fragment)[:60]
    return any(_OPAQUE.fullmatch(segment) is not None and looks_random(segment) for segment in segments)


def _is_host_of(host: str, names: tuple[str, ...]) -> bool:
    return host.endswith(names) and any(host == name or host.endswith("." + name) for name in names)


def _is_tracker(host: str, path: str) -> bool:
    if _is_host_of(host, _SHORTENERS):
        return True
    label, dot, rest = host.partition(".")
    return _TRACKER_PATH.search(path) is not None or (
        bool(dot) and "." in rest and label.rstrip("0123456789") in _TRACKER_LABELS
    )


@lru_cache(maxsize=1_024)
def url_facts(url: str) -> UrlFacts:
    """Take a URL apart. Never raises; what cannot be read is empty."""
    web = split_web_url(url.strip())
    if web is None:
        match = _SCHEME.match(url[:_MAX_URL].strip())
        scheme, rest = (match[1].lower(), match[2]) if match is not None else ("", "")
        return UrlFacts(scheme, "", rest, "", secret=False, tracker=False, known=False, target="")
    scheme, authority, rest = web
    host = host_of(authority)
    parts = _REST.match(rest[:_MAX_URL])
    path, query, fragment = (part or "" for part in (parts.groups() if parts is not None else ("", "", "")))
    target = ""
    known = _is_host_of(host, _TRACKER_HOSTS) or (_is_host_of(host, ("google.com",)) and path == "/url")
    tracker = known or _is_tracker(host, path)
    if tracker:
        wrapped = _WRAPPED.search(query) or _WRAPPED_PATH.search(path)
        if wrapped is not None:
            target = unquote(wrapped.group(1))
    secret = _carries_secret(path, query, fragment)
    # Pages that run in the browser keep their own path and parameters behind the `#`.
    route, _, parameters = fragment.partition("?")
    path, query = f"{path}#{route}" if route else path, f"{query}&{parameters}" if parameters else query
    return UrlFacts(scheme, host, path, query, secret=secret, tracker=tracker, known=known, target=target)


_SHOWN_HOST = re.compile(
    r"(?:https?://)?(?:www\.)?((?:[a-z0-9\u00a1-\uffff-]{1,63}\.){1,8}(?:[a-z\u00a1-\uffff]{2,24}|xn--[a-z0-9-]{2,59}))\.?(?::\d{0,5})?(?:[/?#]\S*)?"
)


def shown_host(label: str) -> str:
    """The host that a person reads in the text of a link, when the whole text is a URL or a host; else empty.

    In `https://bank.example@evil.example/` that is what looks like a host first.
    """
    label = plain_host(label.strip()[:_MAX_URL])
    web = split_web_url(label)
    if web is not None and label.partition(":")[2][:1] in ("/", "\\"):
        scheme, authority, rest = web
        user, at, after = authority.rpartition("@")
        name = unquote(user.partition(":")[0].partition("@")[0]) if at else ""
        shown = name if _SHOWN_HOST.fullmatch(name) else after
        label = f"{scheme}://{shown}{rest.replace(chr(92), '/')}"
    match = _SHOWN_HOST.fullmatch(label)
    if match is None:
        return ""
    host = match.group(1)
    if "://" not in label:
        # What is no known suffix is no host; "README.md" is a file although Moldova has that name.
        plain, _, _ = _suffixes()
        top = unicode_host(host).rpartition(".")[2]
        if label.count(".") == 1 and top in _FILE_ENDINGS and "/" not in label:
            return ""
        if plain and top not in plain and top not in _RESERVED:
            return ""
    return host
