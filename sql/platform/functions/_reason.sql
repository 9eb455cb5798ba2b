-- public._reason: says in words why a signal was not traded, or what is unknown of it.
-- Returns: the words; what has none is the broker's or the agent's own text.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public._reason(p_code text) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce((
        select r.words
        from (values
            ('source_not_allowed', 'The alert came from an address that the strategy does not allow.'),
            ('strategy_disabled', 'The strategy is disabled.'),
            ('onboarding_required', 'The user has not accepted the disclaimer yet.'),
            ('trading_halted', 'The kill switch is on: nothing is opened.'),
            ('trading_reducing', 'Trading is reduced to closing positions.'),
            ('invalid_payload', 'The alert names no symbol or no action that is known, or a stop that is no price.'),
            ('pair_not_allowed', 'The strategy does not trade this symbol.'),
            ('duplicate', 'The same alert came before.'),
            ('expired', 'It was too old to act on before an agent took it.'),
            ('broker_connection_required', 'The strategy names no account, and the user has no default one.'),
            ('position_not_found', 'The strategy has no open position that the alert closes.'),
            ('partially_filled', 'The broker closed a part of a position; the rest is open.'),
            ('orders_cancelled', 'Nothing was open; the strategy''s waiting orders were cancelled.'),
            ('volume_missing', 'Neither the alert nor the strategy nor the settings name a volume.'),
            ('volume_out_of_range', 'The volume is no number above 0, or above the user''s highest.'),
            ('max_positions', 'The user has as many open positions as the settings allow.'),
            ('rate_limited', 'As many orders of the user or alerts of the strategy came in this minute as may.'),
            ('daily_loss_limit_reached', 'Today''s losses have reached the limit.'),
            ('risk_data_unavailable', 'The account''s balance of this morning is not known, so its losses are not.'),
            ('broker_errors', 'The broker refused the orders before it, so none is sent for 30 seconds.'),
            ('outcome_unknown', 'The order was sent, and nobody has heard yet what became of it.'),
            ('cancelled', 'The order was cancelled before it was sent.')
        ) r (code, words)
        where r.code = p_code), p_code)
$$;
