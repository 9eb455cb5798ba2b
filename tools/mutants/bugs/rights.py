"""Bugs in who may do what."""

from __future__ import annotations

from tools.mutants.record import Edit, Mutant, function, structure

BUGS = (
    Mutant(
        name="everybody may call everything",
        breaks="Any login of the database can finish, cancel and read all jobs.",
        edits=(
            Edit(
                "sql/engine/private.sql",
                "revoke all on all functions in schema jobengine from public;",
                "grant execute on all functions in schema jobengine to public;",
            ),
        ),
        found_by="tests/sql/test_grants.py::test_exactly_the_listed_roles_may_call_a_function",
    ),
    Mutant(
        name="clients may retry",
        breaks="A web application can run what an operator stopped.",
        edits=(
            Edit(
                "sql/engine/grants.sql",
                "('retry',             'jobengine_operator'),",
                "('retry',             'jobengine_client, jobengine_operator'),",
            ),
        ),
        found_by="tests/sql/test_grants.py::test_exactly_the_listed_roles_may_call_a_function",
    ),
    Mutant(
        name="a function's search path is its caller's",
        breaks="A caller's temporary table takes the place of the engine's, with its owner's rights.",
        edits=(function("enqueue", "set search_path = pg_catalog, pg_temp\n", ""),),
        found_by="tests/sql/test_grants.py::"
        "test_every_public_function_runs_as_its_owner_with_a_pinned_search_path",
    ),
    Mutant(
        name="claim runs with its caller's rights",
        breaks="Workers cannot claim.",
        edits=(function("claim", "security definer\n", ""),),
        found_by="tests/sql/test_grants.py::test_a_role_calls_what_it_may_and_is_refused_the_rest",
    ),
    Mutant(
        name="jobs have no row-level security",
        breaks="A host that grants a role SELECT shows it every tenant's jobs.",
        edits=(structure("alter table jobengine.job enable row level security;\n", ""),),
        found_by="tests/sql/test_grants.py::"
        "test_row_level_security_is_on_for_every_table_of_the_engine",
    ),
)
