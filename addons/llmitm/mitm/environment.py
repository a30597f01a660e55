"""Which environment makes an unmodified program use the proxy and trust it?

Pure: a mapping in, a mapping out. Three kinds of variables: where the proxy is, what must not go
through it, and which certificates to trust. Programs differ in the last one: some variables *add*
certificates to the program's own store, others *replace* the store, and those get a bundle that
also holds what was trusted before. Source: the programs' documentation and measurements behind
mitmproxy 12.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

LOOPBACK = ("localhost", "127.0.0.1", "::1")

# Both cases: curl ignores HTTP_PROXY in capitals, others read only capitals. The general one also
# catches WebSockets in Node programs whose proxy library looks for WSS_PROXY, then ALL_PROXY.
PROXY = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")

NO_PROXY = ("NO_PROXY", "no_proxy")

# Programs that keep their own store and add these certificates to it.
ADDING = (
    "NODE_EXTRA_CA_CERTS",  # Node, Bun
    "DENO_CERT",
)

# Programs that trust these certificates instead of their own store.
REPLACING = (
    "SSL_CERT_FILE",  # OpenSSL, Python ssl and httpx, Go, Rust native certs, Bun
    "REQUESTS_CA_BUNDLE",  # Python requests
    "CURL_CA_BUNDLE",  # curl, and requests as a second choice
    "GIT_SSL_CAINFO",
    "CODEX_CA_CERTIFICATE",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
)

# The same, but left alone where the user has not set them: their programs are served by those
# above, and some of them warn when the variable appears.
REPLACING_IF_SET = (
    "NIX_SSL_CERT_FILE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "BUNDLE_SSL_CA_CERT",
    "NPM_CONFIG_CAFILE",
    "npm_config_cafile",
    "YARN_HTTPS_CA_FILE_PATH",
    "HEX_CACERTS_PATH",
)

DUMMY_KEY = "sk-placeholder"
"""A key that is none; the rules know it as a placeholder."""

# Only what is a key of models and nothing else: HF_TOKEN also downloads files, and a wrong one is
# refused where none would do.
DUMMY_ENDINGS = ("_API_KEY", "AWS_BEARER_TOKEN_BEDROCK")

DUMMY_ALSO = (
    ("CODEX_API_KEY", "OPENAI_API_KEY"),
    ("AWS_BEARER_TOKEN_BEDROCK",),
)

# Beside these a key would be taken instead of the login that the user has.
OTHER_LOGINS = {
    "ANTHROPIC_API_KEY": ("ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    "AWS_BEARER_TOKEN_BEDROCK": (
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    ),
}


def child_environment(
    environ: Mapping[str, str], proxy_url: str, ca_file: str, bundle_file: str
) -> dict[str, str]:
    """A copy of `environ` in which programs use the proxy at `proxy_url` and trust its CA.

    ca_file: PEM, the proxy's CA (and whatever `NODE_EXTRA_CA_CERTS` named before).
    bundle_file: PEM, everything that was trusted before, plus the CA.
    SSL_CERT_DIR stays: OpenSSL, Go and Rust read it besides SSL_CERT_FILE, never instead of it.
    """
    child = dict(environ)
    child.update(dict.fromkeys(PROXY, proxy_url))
    child.update(dict.fromkeys(NO_PROXY, ",".join(direct_hosts(environ))))
    child["NODE_USE_ENV_PROXY"] = "1"
    child.update(dict.fromkeys(ADDING, ca_file))
    child.update(dict.fromkeys(REPLACING, bundle_file))
    child.update({name: bundle_file for name in REPLACING_IF_SET if environ.get(name)})
    # Deno's own list misses a company's CA; the user's choice of stores holds.
    child.setdefault("DENO_TLS_CA_STORE", "mozilla,system")
    return child


def with_dummy_keys(environ: Mapping[str, str], variables: Iterable[Sequence[str]]) -> list[str]:
    """Names of variables to set to `DUMMY_KEY`, so that programs start without a key.

    variables: of each provider, those that may hold its key. Nothing is set for a provider that has
    one, nor for one whose programs would find a login otherwise (`OTHER_LOGINS`).
    """
    names: dict[str, None] = {}
    for some in (*variables, *DUMMY_ALSO):
        others = [each for name in some for each in OTHER_LOGINS.get(name, ())]
        numbered = [f"{name}_1" for name in some]
        if not any(environ.get(name, "").strip() for name in (*some, *others, *numbered)):
            names.update(dict.fromkeys(name for name in some if name.endswith(DUMMY_ENDINGS)))
    return list(names)


def direct_hosts(environ: Mapping[str, str]) -> list[str]:
    """Hosts that are not proxied: the user's own (both spellings), then loopback; no repetition.

    A `*` is dropped: it would take everything past the proxy that the user asked for.
    """
    hosts: dict[str, None] = {}
    for name in NO_PROXY:
        for host in environ.get(name, "").replace(" ", ",").split(","):
            if host and host != "*":
                hosts.setdefault(host)
    for host in LOOPBACK:
        hosts.setdefault(host)
    return list(hosts)


def earlier_proxy(environ: Mapping[str, str]) -> str:
    """The proxy for https that was set before, empty for none."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        if environ.get(name):
            return environ[name]
    return ""
