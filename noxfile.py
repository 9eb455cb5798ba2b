"""Every check of the project, one session each: `python3 dev.py exec nox -s NAME -- ARGS`."""

import nox

# dev.py has made the one environment of the project from its lock file and started nox inside
# it; an environment per session would install the same packages once for each.
nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests"]

LOCK = (
    "uv",
    "pip",
    "compile",
    "--quiet",
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    # A lock names versions and hashes, never where somebody once downloaded them.
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-header",
)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments go to pytest."""
    # Databases are made once per file, so a file stays with one worker. Tests wait for their
    # server more than they compute: one worker more than the smallest machine has cores.
    session.run("pytest", "--numprocesses=3", "--dist=loadfile", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style of the Python files."""
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the Python files."""
    session.run("mypy", *session.posargs)


@nox.session
def sql(session: nox.Session) -> None:
    """Check the SQL files."""
    session.run("python", "tools/sql_check.py", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel from the sdist, install it alone and run a job with it."""
    session.run("python", "tools/wheel_check.py", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Plant bugs in copies of the checkout: a test has to find each (docs/mutants.md)."""
    session.run("python", "-m", "tools.mutants", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks; arguments say which."""
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Break everything while jobs run, and judge: `-- --minutes N --seed S`.

    `-- trades --kills N --seed S`: kill agents and services at work on orders.
    """
    if session.posargs[:1] == ["trades"]:
        session.run("python", "-m", "tests.faults.trades", *session.posargs[1:])
    else:
        session.run("python", "-m", "tests.chaos", *(session.posargs or ["--minutes=10"]))


@nox.session
def lock(session: nox.Session) -> None:
    """Write requirements/*.txt anew; `-- --upgrade` takes newer versions."""
    for name, sources in {
        "bootstrap": ["requirements/bootstrap.in"],
        "build": ["--group=build"],
        "runtime": ["pyproject.toml", "--extra=service"],
        # The benchmarks' own environment: the peers, and what jobengine needs beside them.
        "peers": ["requirements/peers.in", "pyproject.toml"],
        "dev": [
            "pyproject.toml",
            "--extra=embedded",
            "--extra=service",
            "--extra=service-embedded",
            "--group=dev",
        ],
    }.items():
        session.run(*LOCK, *session.posargs, *sources, f"--output-file=requirements/{name}.txt")
