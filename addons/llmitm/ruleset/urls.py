"""How hosts, base URLs and path templates are written in rules: checked, split, compiled."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urlsplit

from llmitm.ruleset.rows import VARIABLE, compiled

_LABEL = re.compile(r"^[a-z0-9_*]([a-z0-9_*-]*[a-z0-9_*])?$")
_TEMPLATE_PART = re.compile(r"(\*\*|\*|\{model\+\}|\{model\})")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """Where a provider's API begins. path: without a final slash, empty for the root."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return self.origin + self.path

    @property
    def origin(self) -> str:
        """`https://host`, with the port where it is not the usual one."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if _PORTS[self.scheme] == self.port else f":{self.port}"
        return f"{self.scheme}://{shown}{port}"

    def join(self, path: str) -> str:
        """This base's path followed by `path`.

        A version that ends the one and begins the other (`…/v1beta` + `/v1beta/models`) stands
        once.
        """
        last = self.path.rpartition("/")[2]
        if last and (path == f"/{last}" or path.startswith(f"/{last}/")):
            path = path[len(last) + 1 :]
        return self.path + path or "/"


@lru_cache(maxsize=256)
def base_url(text: str) -> BaseUrl:
    """The parts of `https://host[:port][/path]`. Raises ValueError that says what is allowed."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("must be http://host or https://host, with :port and /path if needed")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment")
    if any(character.isspace() for character in text.strip()):
        raise ValueError("must hold no white space")
    host = parts.hostname.rstrip(".")
    return BaseUrl(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))


def check_url(text: str) -> str:
    """`text`, if it is a base URL, or would be with its variables set."""
    base_url(VARIABLE.sub("x", text))
    return text


def split_host(text: str) -> tuple[str, int | None]:
    """(lower-case host, port or None) of `host`, `host:port`, `[v6]` or `[v6]:port`."""
    text = text.strip().lower()
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest[1:]) if rest.startswith(":") else None
    host, colon, port = text.rpartition(":")
    return (host.rstrip("."), int(port)) if colon else (text.rstrip("."), None)


def check_host(text: str) -> str:
    """`text`, if it is a host, a host pattern, either with a port. Raises ValueError."""
    shown = VARIABLE.sub("x", text)
    say = "must be a host (api.example.com) or a pattern (*.example.com), with :port if needed"
    try:
        host, port = split_host(shown)
    except ValueError:
        raise ValueError(say) from None
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"port {port} is not in 1..65535")
    if ":" in host:
        return text
    labels = host.split(".")
    if not all(_LABEL.match(label) for label in labels):
        raise ValueError(say)
    if "*" in labels[-1] or ("*" in host and len(labels) < 3):
        raise ValueError("a pattern must name a domain, as in *.example.com")
    return text


def host_regex(pattern: str) -> re.Pattern[str]:
    """What a host pattern means: each `*` is one or more characters other than a dot."""
    return re.compile("[^.]+".join(re.escape(piece) for piece in pattern.split("*")))


def path_regex(template: str) -> re.Pattern[str]:
    """What a path template means; group `model` where it names one. Raises ValueError."""
    if template.startswith("^"):
        return compiled(template)
    if not template.startswith(("/", "**")):
        raise ValueError("must begin with /, with **, or (a regular expression) with ^")
    meanings = {
        "**": ".*",
        "*": "[^/]+",
        "{model}": "(?P<model>[^/]+)",
        "{model+}": "(?P<model>.+)",
    }
    pieces = _TEMPLATE_PART.split(template)
    if sum(piece.startswith("{model") for piece in pieces) > 1:
        raise ValueError("names {model} twice")
    rest = "".join(piece for piece in pieces if piece not in meanings)
    if "{" in rest or "}" in rest or "?" in rest:
        raise ValueError("knows {model}, {model+}, * and ** only, and no query")
    return re.compile("".join(meanings.get(piece) or re.escape(piece) for piece in pieces) + "/*")


def fill_model(template: str, model: str) -> str:
    """`template` with `{model}` replaced by the percent-encoded model."""
    if "{model}" not in template:
        return template
    return template.replace("{model}", quote(model.removeprefix("models/"), safe="@._-~"))
