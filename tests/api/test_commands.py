"""The service's commands, on wrong input: a line that says what is wrong, and no traceback."""

from __future__ import annotations

import pytest

from api.__main__ import main
from api.commands import Refused, add_user, token


@pytest.mark.parametrize("url", ["nonsense", "host=/nonexistent"])
@pytest.mark.parametrize("command", [("migrate",), ("user", "add", "ada@example.org")], ids=str)
def test_a_database_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    url: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert main(list(command)) == 1
    said = capsys.readouterr()
    assert said.err.startswith("api: cannot connect to the database: ")
    assert said.out == ""


def test_a_user_is_added_once(platform_url: str) -> None:
    environment = {"DATABASE_URL": platform_url, "SUPABASE_JWT_SECRET": "s" * 32}
    add_user(environment, "ada@example.org")
    assert token(environment, "ada@example.org", 1)
    with pytest.raises(Refused, match="There is a user of that address"):
        add_user(environment, "ada@example.org")
    with pytest.raises(Refused, match="email: name@host"):
        add_user(environment, "ada")


@pytest.mark.parametrize("hours", ["-1", "0", "inf", "nan"])
def test_a_token_is_valid_for_a_while(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["user", "token", "ada@example.org", "--hours", hours])
    assert left.value.code == 2
    assert "--hours: a number above 0" in capsys.readouterr().err
