"""Addresses of model servers, and the key that may be sent to one. No torch."""

import os
import re
from ipaddress import ip_address

from valuefree.errors import ConfigError

OPENAI_HOST = "api.openai.com"
OPENAI_KEY = "OPENAI_API_KEY"
NO_KEY = "none"  # the openai client wants some text
# Scheme, host, port and path, and nothing that two programs could read differently.
ADDRESS = re.compile(r"(https?)://([\w.-]+|\[[\da-f:.]+\])(?::\d+)?(?:/[\w.~%/:+,=-]*)?", re.ASCII | re.IGNORECASE)


def check_address(server: str) -> None:
    """Check that an address is ``http(s)://host:port/path``.

    Raises:
        ConfigError: another form; one with a user, a password or a query may hold a key, so it is not shown whole.
    """
    if ADDRESS.fullmatch(server):
        return
    shown = re.sub(r"[?#].*", "?***", re.sub(r"^(\w+://)?.*@", r"\1***@", server, flags=re.DOTALL), flags=re.DOTALL)
    raise ConfigError(
        f"server is {shown!r}; expected an address such as http://localhost:8000/v1, without user, password, ? and #. "
        "Put a key into an environment variable, and name the variable by --api-key-env (api_key_env)."
    )


def key_for(server: str, api_key_env: str | None, *, key_over_http: bool = False) -> str:
    """The key to send to `server`, or `NO_KEY`.

    Args:
        api_key_env: variable that holds this server's key; None: OPENAI_API_KEY for api.openai.com, none for any other.
        key_over_http: send a key over unencrypted http to another machine, too.

    Raises:
        ConfigError: no such address, no key in the named variable, or a key over http to another machine.
    """
    check_address(server)
    scheme, host = ADDRESS.fullmatch(server).groups()  # type: ignore[union-attr]  # checked above
    named = api_key_env or (OPENAI_KEY if host.lower() == OPENAI_HOST else None)
    key = os.environ.get(named, "").strip() if named else ""
    if not key:
        if api_key_env is not None:
            raise ConfigError(f"the environment variable {api_key_env} (api_key_env) is not set; it holds the key.")
        return NO_KEY
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"the key in {named} holds a character that no request can carry; set it anew.")
    if scheme.lower() == "http" and not _this_machine(host) and not key_over_http:
        raise ConfigError(
            f"the key in {named} would go to {host} unencrypted, over http. Use https, or pass --key-over-http "
            "(key_over_http) if the network is trusted; without --api-key-env no key is sent."
        )
    return key


def _this_machine(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
