"""docker-compose.yml without docker: the specification's schema, and what a schema cannot see."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from api.embedded import OPTIONS

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"(?<!\$)\$\{?(?P<name>\w+)(?P<default>:?-)?")
TAGGED = re.compile(r"[^:@]+:(?!latest$)[\w.-]+")
# Where a service may name something that must be declared at the top: short form or long form.
DECLARED = {"volumes": "source", "networks": "source", "secrets": "source", "configs": "source"}

Compose = dict[str, Any]


def load(text: str) -> Compose:
    return dict(YAML(typ="safe").load(text))


def undeclared_names(compose: Compose) -> Iterator[str]:
    for service, spec in compose["services"].items():
        for kind, key in DECLARED.items():
            for use in spec.get(kind, []):
                name = use.get(key) if isinstance(use, dict) else str(use).split(":")[0]
                is_path = str(name).startswith((".", "/", "~"))
                if not is_path and name not in compose.get(kind, {}):
                    yield f"{service}: {kind} {name!r} is declared nowhere"


def impossible_dependencies(compose: Compose) -> Iterator[str]:
    services = compose["services"]
    for service, spec in services.items():
        for target, how in spec.get("depends_on", {}).items():
            if target not in services:
                yield f"{service}: depends on {target}, which does not exist"
            elif how["condition"] == "service_healthy" and "healthcheck" not in services[target]:
                yield f"{service}: waits for the health of {target}, which has no healthcheck"
            elif how["condition"] == "service_completed_successfully" and (
                services[target].get("restart", "no") != "no"
            ):
                yield f"{service}: waits for the end of {target}, which is started again"


def unset_variables(compose: Compose) -> Iterator[str]:
    example = (ROOT / ".env.example").read_text()
    known = set(re.findall(r"^(\w+)=", example, re.MULTILINE))
    for text in strings(compose):
        for found in VARIABLE.finditer(text):
            if not found["default"] and found["name"] not in known:
                yield f"{found['name']} has no default and is not in .env.example"


def strings(value: object) -> Iterator[str]:
    """Return every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


def open_ports(compose: Compose) -> Iterator[str]:
    for service, spec in compose["services"].items():
        for port in spec.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{service}: port {port} is open to other machines"


def floating_images(compose: Compose) -> Iterator[str]:
    for service, spec in compose["services"].items():
        if not TAGGED.fullmatch(spec.get("image", "")):
            yield f"{service}: image {spec.get('image')!r} is not pinned by a tag"


def unknown_commands(compose: Compose) -> Iterator[str]:
    """Name each service of ours whose command its image could not run."""
    for service, spec in compose["services"].items():
        if "build" not in spec:
            continue
        match spec.get("command"):
            case ["python", "-m", module, *_] if (ROOT / module / "__main__.py").is_file():
                pass
            case [script, *_] if script in project()["scripts"]:
                pass
            case command:
                yield f"{service}: {command} is no command of this project"


def other_versions(compose: Compose) -> Iterator[str]:
    for service, spec in compose["services"].items():
        if "build" in spec and not spec["image"].endswith(f":{project()['version']}"):
            yield f"{service}: image {spec['image']} is not of this version"


def named_project(compose: Compose) -> Iterator[str]:
    if "name" in compose:
        yield "a top-level name, which older clients refuse"


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


Check = Callable[[Compose], Iterator[str]]

# Each check, with an edit of the real file that it must notice.
CHECKS: list[tuple[Check, str, str]] = [
    (undeclared_names, "redis:/data", "cache:/data"),
    (impossible_dependencies, "postgres: { condition", "postgresql: { condition"),
    (impossible_dependencies, " healthcheck:", " x-healthcheck:"),
    (impossible_dependencies, 'restart: "no"', "restart: always"),
    (unset_variables, "${JOBENGINE_PASSWORD}", "${JOBENGINE_PASSWORT}"),
    (unset_variables, "${API_PORT:-8000}", "$API_PROT"),
    (open_ports, "127.0.0.1:${API_PORT", "${API_PORT"),
    (floating_images, "valkey/valkey:9", "valkey/valkey"),
    (floating_images, "postgres:18", "postgres:latest"),
    (unknown_commands, "[jobengine, work]", "[jobengined, work]"),
    (unknown_commands, "[python, -m, api,", "[python, -m, apis,"),
    (other_versions, "image: jobengine:", "image: jobengine:9"),
    (named_project, "services:", "name: jobengine\nservices:"),
]


@pytest.mark.parametrize("check", dict.fromkeys(check for check, _, _ in CHECKS))
def test_file_holds(check: Check) -> None:
    assert list(check(load(COMPOSE.read_text()))) == []


@pytest.mark.parametrize("check,old,new", CHECKS)
def test_check_notices(check: Check, old: str, new: str) -> None:
    text = COMPOSE.read_text()
    assert old in text
    assert list(check(load(text.replace(old, new)))) != []


def test_file_follows_the_specification() -> None:
    assert schema_errors(COMPOSE) == ""


def test_schema_notices_a_wrong_key(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text().replace("restart: unless", "restarts: unless"))
    assert "restarts" in schema_errors(wrong)


def schema_errors(file: Path) -> str:
    program = [sys.executable, "-m", "check_jsonschema"]
    command = [*program, "--builtin-schema", "vendor.compose-spec", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode in {0, 1}, ended.stderr
    return ended.stdout if ended.returncode else ""


def test_redis_keeps_every_accepted_write() -> None:
    command = load(COMPOSE.read_text())["services"]["redis"]["command"]
    assert command[1:5] == ["--appendonly", "yes", "--appendfsync", "always"]


def test_redis_cuts_off_subscribers_as_the_embedded_one_does() -> None:
    command = load(COMPOSE.read_text())["services"]["redis"]["command"]
    limits = command.index("--client-output-buffer-limit")
    assert command[limits:] == list(OPTIONS[OPTIONS.index("--client-output-buffer-limit") :])


def test_nobody_but_the_server_has_the_superuser_password() -> None:
    services = load(COMPOSE.read_text())["services"]
    holders = [name for name, spec in services.items() if "POSTGRES_PASSWORD" in str(spec)]
    assert holders == ["postgres"]
