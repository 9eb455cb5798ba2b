-- public._alert_refusal: why an alert is not looked at any further, before it is known whether it is a repeat.
-- Returns: the code, or null.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: Closing passes the kill switch and the list of pairs: whoever stops trading wants out; nor does it need
--   stops. A symbol that cannot be read (the empty text) is none that could be closed. An empty list of pairs allows
--   all of them.
create or replace function public._alert_refusal(p_strategy public.tv_strategies, p_alert public._alert) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when not coalesce(
            p_alert.source <<= any (p_strategy.allowed_sources), p_strategy.allowed_sources is null)
            then 'source_not_allowed'
        when not p_strategy.is_enabled then 'strategy_disabled'
        when p.onboarding_completed_at is null then 'onboarding_required'
        when o.opens and u.trading_state = 'halted' then 'trading_halted'
        when o.opens and u.trading_state = 'reducing' then 'trading_reducing'
        when p_alert.action is null or p_alert.symbol = ''
             or (o.opens and (p_alert.symbol is null or p_alert.sl < 0 or p_alert.tp < 0))
            then 'invalid_payload'
        when o.opens and cardinality(p_strategy.allowed_pairs) > 0 and not exists (
            select from unnest(p_strategy.allowed_pairs) a
            where replace(upper(a), '/', '') = replace(upper(p_alert.symbol), '/', '')) then 'pair_not_allowed'
        when o.opens and p_alert.volume <= 0 then 'volume_out_of_range'
    end
    from (select not coalesce(p_alert.action ^@ 'close', false)) o (opens)
    left join public.profiles p on p.id = p_strategy.user_id
    left join public.user_settings u on u.user_id = p_strategy.user_id
$$;
