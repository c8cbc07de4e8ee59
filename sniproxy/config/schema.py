"""The tables, keys and types of a configuration file, and the errors of files that do not match. Pure.

L{sniproxy.config.parser} checks the values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, get_args

import msgspec

from sniproxy.config.tables import LISTED_TABLES, SINGLE_TABLES
from sniproxy.util.text import bounded, printable


class ConfigError(Exception):
    """The configuration is invalid. The message names the place and the cure, in one line of printable ASCII.

    @ivar key: the wrong key, as in ``route[3].target``. Empty: only the message has it.
    @ivar value: the value found, or one item of the list found.
    """

    def __init__(self, message: str, key: str = "", value: object = None) -> None:
        super().__init__(printable(message))
        self.key = key
        self.value = value


class ConfigErrors(ConfigError):
    """Several errors of one file, one per line of the message."""

    def __init__(self, errors: Sequence[ConfigError | str]) -> None:
        super().__init__("")
        self.errors = [ConfigError(one) if isinstance(one, str) else one for one in errors]

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


MakeError = Callable[[str, object, str], ConfigError]
"""Makes an error from a key, its value and the cure."""


def each_error(error: ConfigError) -> Sequence[ConfigError]:
    """The errors of L{ConfigErrors}, or the error itself."""
    return error.errors if isinstance(error, ConfigErrors) else [error]


class Faults:
    """Collects errors: C{with faults:} records an error and continues after the block. @ivar errors: those so far."""

    def __init__(self) -> None:
        self.errors: list[ConfigError] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> bool:
        if not isinstance(error, ConfigError):
            return False
        self.errors += each_error(error)
        return True

    def check(self) -> None:
        """@raise ConfigError: errors were recorded."""
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else ConfigErrors(self.errors)


class ListenerTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    endpoint: str
    name: str | None = None
    plaintext: bool = False
    inspect: str | None = None
    deferred_accept: bool = False
    target: str | list[str] | None = None
    resolver: str | list[str] | None = None
    certificates: str | None = None
    upstream_trust: str | None = None
    upstream_certificate: str | None = None
    proxy_protocol: str | None = None
    proxy_protocol_from: list[str] = []
    only_from: list[str] | None = None
    send_proxy: str | None = None
    proxy_tlvs: list[str] | None = None
    target_source: str | None = None
    closed_when_down: str | None = None


class BridgeTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    endpoint: str
    service_url: str
    trust: str
    name: str | None = None
    proxy_service_url: str | None = None
    proxy_protocol: str | None = None
    certificate: str | None = None
    allow: list[str] | None = None
    inspect: str | None = None
    send_proxy: str | None = None
    proxy_tlvs: list[str] | None = None


class DefaultTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    target: str | list[str] | None = None
    resolver: str | list[str] | None = None
    balance: str | None = None
    max_connections: int | None = None
    only_from: list[str] | None = None
    send_proxy: str | None = None
    proxy_tlvs: list[str] | None = None
    target_source: str | None = None


class RouteEntry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    server_name: str
    target: str | list[str] | None = None
    resolver: str | list[str] | None = None
    listener: str | None = None
    balance: str | None = None
    max_connections: int | None = None
    only_from: list[str] | None = None
    send_proxy: str | None = None
    proxy_tlvs: list[str] | None = None
    target_source: str | None = None


class FaultEntry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """C{seconds} and C{after_seconds} are seconds, C{rate} is bytes per second. See L{sniproxy.config.faults}."""

    action: str
    name: str | None = None
    listener: str | None = None
    on: str | None = None
    sender: str | None = msgspec.field(default=None, name="from")
    topic: str | None = None
    server_name: str | None = None
    after_bytes: int | None = None
    after_seconds: float | None = None
    nth: int | None = None
    times: int | None = None
    probability: float | None = None
    seed: int | None = None
    seconds: float | None = None
    rate: float | None = None
    url: str | None = None
    response: str | None = None
    error: str | None = None
    message: str | None = None


class Timeouts(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Seconds. etc/sniproxy.toml explains each default."""

    hello: float = 10.0
    connect: float = 10.0
    idle: float = 300.0
    half_closed: float = 60.0
    drain: float = 30.0
    upgrade_drain: float = 14_400.0


class AccessLogTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    path: str
    opened: bool = False
    repeat: float | None = None


class LogTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    format: str = "text"


class InspectLogTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    path: str
    reveal: bool = False
    follow: list[str] = []
    commands: list[str] = []


class AdminTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    endpoint: str
    hosts: list[str] = []
    token_file: str | None = None


class PolicyTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    allow_cidrs: list[str] = []
    allow_ports: list[int] | None = None
    allow_names: list[str] | None = None


class HealthTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """C{interval} and C{eject} are seconds. See L{sniproxy.routing.health.Health}."""

    check: str | None = None
    interval: float = 5.0
    rise: int = 2
    fall: int = 3
    eject: float = 0.0


class LimitsTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    max_connections: int | None = None
    max_connections_per_client: int | None = None
    max_hellos: int | None = None
    max_hellos_per_client: int | None = None
    rate_per_client: float | None = None
    burst_per_client: int | None = None
    max_buffered: int | None = None
    exempt_cidrs: list[str] = []
    max_connecting: int | None = None
    max_connecting_per_route: int | None = None


class ReloadTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    on_change: bool = False


class File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    workers: int = 1
    reuse_port: bool = False
    listener: list[ListenerTable] = []
    bridge: list[BridgeTable] = []
    route: list[RouteEntry] = []
    fault: list[FaultEntry] = []
    default: DefaultTable | None = None
    no_server_name: DefaultTable | None = None
    resolver: dict[str, dict[str, Any]] = {}
    timeouts: Timeouts = Timeouts()
    log: LogTable = LogTable()
    access_log: AccessLogTable | None = None
    inspect_log: InspectLogTable | None = None
    admin: AdminTable | None = None
    policy: PolicyTable = PolicyTable()
    reload: ReloadTable = ReloadTable()
    health: HealthTable = HealthTable()
    limits: LimitsTable = LimitsTable()
    relay: str = "auto"
    relay_threads: int = 1


def convert(data: dict[str, Any], filename: str) -> File:
    """Convert parsed TOML.

    @raise ConfigError: a key is unknown or missing, or a value has the wrong type.
    """
    try:
        return msgspec.convert(data, File)
    except msgspec.ValidationError as error:
        raise _readable(error, data, filename) from error


def _readable(error: msgspec.ValidationError, data: object, filename: str) -> ConfigError:
    """A readable error from msgspec's, with the key and the value."""
    # Imported here: most configurations have no error, and start faster.
    from sniproxy.config.diagnostics.cures import unknown_key, wrong_type

    message, _, path = str(error).partition(" - at `")
    key = re.sub(r"^(\$|key in \$)\.?", "", path.removesuffix("`"))
    if key.endswith("[...]"):  # a named table; msgspec does not say which
        key = key.removesuffix("[...]")
        tables = _at(data, key)
        key += "." + next(name for name, table in tables.items() if not isinstance(table, dict))
    unknown = re.search(r"contains unknown field `(.*)`", message, re.DOTALL)
    missing = re.search(r"missing required field `(.*)`", message)
    if unknown:
        table = _at(data, key)
        place = f"{key}.{unknown[1]}" if key else unknown[1]
        value = table.get(unknown[1]) if isinstance(table, dict) else None
        name = re.sub(r"\[\d+\]$", "", key)
        tables = {name: kind.__struct_encode_fields__ for name, kind in _all_tables().items()}
        cure = unknown_key(unknown[1], name, tables[name], tables)
        return ConfigError(f"{filename}: {place} = {shown(value)}: unknown key; {cure}", place)
    if missing:
        place = f"{key}.{missing[1]}" if key else missing[1]
        example = {
            "listener": 'write [[listener]] with endpoint = "tcp:4443"',
            "endpoint": 'write endpoint = "tcp:4443"',
            "service_url": 'write service_url = "pulsar+ssl://pulsar-vip.example.com:6651"',
            "trust": 'write trust = "ca.pem", the CA that signs the brokers\' certificates',
            "server_name": 'write server_name = "broker-1.example.com"',
            "action": 'write action = "reset"',
            "path": 'write path = "access.jsonl", or "-" for standard output',
        }.get(missing[1], "add it")
        return ConfigError(f"{filename}: {place}: missing; {example}", place)
    wanted, _, got = message.replace("`", "").removeprefix("Expected ").partition(", got ")
    value = _at(data, key)
    more = wrong_type(re.split(r"[.\[]", re.sub(r"\[\d+\]$", "", key))[-1], value, wanted)
    if got == "float":
        got = "a number with a fraction"
    if key in SINGLE_TABLES:
        more = f": [{key}]"
    elif key in LISTED_TABLES:
        more = f" of tables: [[{key}]], with two brackets"
    elif key.startswith("resolver."):
        more = f": [{key}]"
    wanted = " or ".join(_TOML_WORDS.get(word, word) for word in wanted.split(" | ") if word != "null")
    got = _TOML_WORDS.get(got, got)
    return ConfigError(f"{filename}: {key} = {shown(value)}: it is {got}; write {wanted}{more}", key)


_TOML_WORDS = {
    "str": "a string",
    "float": "a number",
    "int": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def has_type(table: str, key: str, value: object) -> bool:
    """Whether a value has the type of a known key. @param table: its table; empty: the top level."""
    (kind,) = (field.type for field in msgspec.structs.fields(_all_tables()[table]) if field.encode_name == key)
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _all_tables() -> dict[str, type[msgspec.Struct]]:
    """The tables by name; the top level has an empty one."""
    found: dict[str, type[msgspec.Struct]] = {"": File}
    for field in msgspec.structs.fields(File):
        for kind in (field.type, *get_args(field.type)):  # of ListenerTable, list[ListenerTable] or DefaultTable | None
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                found[field.name] = kind
    return found


def _at(data: Any, key: str) -> Any:
    for step in re.findall(r"[^.\[\]]+", key):
        try:
            data = data[int(step) if isinstance(data, list) else step]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return data


def shown(value: object) -> str:
    """A value for a message: in TOML's form, on one line, at most 80 characters."""
    if value is None:
        return "(absent)"
    text = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else repr(value)
    return bounded(text, 80)
