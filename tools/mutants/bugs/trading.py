"""Bugs in orders, reads and deals, which are the platform's."""

from __future__ import annotations

from tools.mutants.record import Edit, Mutant

ORDERS = "tests/sql/platform/test_orders.py"
DEALS = "tests/sql/platform/test_deals.py"


def platform(name: str, old: str, new: str) -> Edit:
    """Change a SQL function of the platform."""
    return Edit(f"sql/platform/functions/{name}.sql", old, new)


BUGS = (
    Mutant(
        name="a repeated order is another order",
        breaks="A client that did not hear the answer buys twice.",
        edits=(platform("_order_key", "return v_known.job_id;", "return null;"),),
        found_by=f"{ORDERS}::test_a_repeat_is_the_same_order",
    ),
    Mutant(
        name="a key is anybody's request",
        breaks="A client that uses a key twice believes that its second order was put in.",
        edits=(
            platform("_order_key", "where v_known.request_hash <> p_request_hash", "where false"),
        ),
        found_by=f"{ORDERS}::test_a_repeat_is_the_same_order",
    ),
    Mutant(
        name="orders at once are not counted one by one",
        breaks="A program that goes wild sends more orders in a minute than its user allows.",
        edits=(
            platform(
                "_gate",
                "        perform from public.user_settings s"
                " where s.user_id = p_user_id for no key update;\n",
                "        null;\n",
            ),
        ),
        found_by=f"{ORDERS}::test_orders_at_once_are_counted_one_by_one",
    ),
    Mutant(
        name="orders in flight are no positions",
        breaks="A burst of orders opens more positions than the user allows.",
        edits=(platform("_gate", "v_positions + public._in_flight(p_user_id)", "v_positions"),),
        found_by=f"{ORDERS}::test_the_most_positions",
    ),
    Mutant(
        name="a loss of nobody knows what passes",
        breaks="The loss limit is off for an account that never told its balance.",
        edits=(
            platform("_loss_gate", "      and (d.base_balance is null or ", "      and (false or "),
        ),
        found_by=f"{DEALS}::test_a_loss_of_nobody_knows_what_stops_orders",
    ),
    Mutant(
        name="a read from before an order's end is joined after it",
        breaks="The position that was just opened is missing from the list.",
        edits=(
            platform(
                "read_create",
                "        when p_job_type <> 'get_candles' then",
                "        when false then",
            ),
        ),
        found_by=f"{ORDERS}::test_a_read_from_before_the_end_of_an_order_is_not_joined_after_it",
    ),
    Mutant(
        name="a repeated claim is noted again",
        breaks="An order looks as if two agents had had it.",
        edits=(platform("_order_step", "e.job_id = p_job_id and e.event = p_event", "false"),),
        found_by=f"{ORDERS}::test_a_repeated_claim_is_noted_once",
    ),
    Mutant(
        name="a day begins at UTC's midnight",
        breaks="The loss limit of a trader in Tokyo is forgotten at nine in the morning.",
        edits=(
            platform(
                "_day",
                "coalesce((select p.timezone from public.profiles p where p.id = p_user_id), 'UTC')",
                "'UTC'",
            ),
        ),
        found_by=f"{DEALS}::test_a_day_begins_at_the_users_midnight",
    ),
    Mutant(
        name="a result and a report do not wait for each other",
        breaks="One fill is on record twice, and counts twice for its strategy.",
        edits=(
            platform(
                "deals_report",
                "    perform from public.broker_connections b"
                " where b.id = v_agent.broker_connection_id for no key update;\n",
                "",
            ),
        ),
        found_by=f"{DEALS}::test_a_result_and_a_report_at_once_make_one_fill",
    ),
    Mutant(
        name="a deal of the other side is the order's",
        breaks="A stop-loss that inherited the comment shows as the fill of the order.",
        edits=(
            platform(
                "_deals",
                "b.job_type = 'trade' and b.input ->> 'side' is not distinct from d.deal ->> 'side'",
                "b.job_type = 'trade'",
            ),
        ),
        found_by=f"{DEALS}::test_a_deal_of_the_other_side_is_not_of_the_order_that_it_names",
    ),
    Mutant(
        name="only the deals of the report resolve an order",
        breaks="An order whose deal came before its lease ran out stays unknown for ever.",
        edits=(
            platform(
                "_resolve_orders",
                "        where t.deal_id is not null\n",
                "        where false\n",
            ),
        ),
        found_by=f"{DEALS}::test_a_deal_from_before_its_order_was_unknown_resolves_it_too",
    ),
    Mutant(
        name="the base of a day is its first balance",
        breaks="After a loss in the night the limit is measured by too little.",
        edits=(
            platform(
                "_note_account",
                "excluded.base_balance - d.realized_pnl",
                "excluded.base_balance",
            ),
        ),
        found_by=f"{DEALS}::test_the_base_of_a_day_is_its_first_report_less_what_was_realised",
    ),
)
