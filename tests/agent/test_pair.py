"""`forex-agent pair`: a key for its owner only, and a configuration that `run` works with."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from forex_agent import cli, secret
from forex_agent.settings import FILE, load

from tests.api.world import Service, User


def pair(service: Service, token: str, state: Path, name: str = "my vps") -> int:
    told = ["--state", str(state), "pair", "--url", service.address, "--name", name]
    return cli.main([*told, "--token", token])


def test_pair_writes_configuration_and_key(
    service: Service, owner: User, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "deep" / "state"
    assert pair(service, owner.token, state) == 0
    settings = load(state, {})
    key = secret.read(settings.within(settings.key_file))
    assert stat.S_IMODE((state / "agent.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    told = capsys.readouterr()
    assert settings.agent_id in told.out
    assert key not in told.out + told.err
    headers = {"X-Agent-Key": key}
    path = f"/api/v1/agents/{settings.agent_id}/status"
    assert service.http.get(path, headers=headers).status_code == 200


def test_what_the_file_had_stays(service: Service, owner: User, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('symbols = ["EURUSD"]\nservice_url = "http://old"\n')
    assert pair(service, owner.token, tmp_path) == 0
    settings = load(tmp_path, {})
    assert settings.symbols == ("EURUSD",)
    assert settings.service_url == service.address


def test_an_agent_is_not_paired_over(service: Service, owner: User, tmp_path: Path) -> None:
    assert pair(service, owner.token, tmp_path) == 0
    before = (tmp_path / "agent.key").read_text()
    assert pair(service, owner.token, tmp_path, "another") == 1
    assert (tmp_path / "agent.key").read_text() == before


@pytest.mark.parametrize("token,name,code", [("no token", "my vps", 3), (None, "", 1)])
def test_a_refusal_leaves_no_key(  # noqa: PLR0917
    service: Service, owner: User, tmp_path: Path, token: str | None, name: str, code: int
) -> None:
    assert pair(service, token or owner.token, tmp_path, name) == code
    assert not (tmp_path / "agent.key").exists()


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.key"
    secret.write(path, "fxa_1")
    assert secret.read(path) == "fxa_1"
    path.chmod(0o640)
    with pytest.raises(secret.Exposed, match="mode 640"):
        secret.read(path)
