-- public._gate: says whether the rules of a user let a new order pass.
-- Returns: null if it may, else the code of the first rule that it breaks.
-- Writes: nothing
-- Locks: the user's settings, alone where orders or positions are limited, so that orders are counted one by one, else
--   with other orders; it waits for who holds them. So who halts trading has seen every order that passed before.
-- Calls: _now, _in_flight, _loss_gate
-- Raises: nothing
-- Notes: p_loss_limit_pct is the strategy's own, null the user's. p_broker_connection_id is the account that counts
--   for losses; null is any of them. A volume that cannot be read (null) is above any limit. Orders are
--   counted by their `requested` events of the last 60 seconds; positions are those of the newest reports, the fills
--   since then, and the orders in flight. The account to trade on must have told of its own: fills are added to that.
--   The pause after errors of the broker comes last: what it refuses would pass a little later.
create or replace function public._gate(
    p_user_id uuid, p_symbol text, p_volume numeric, p_loss_limit_pct numeric default null,
    p_broker_connection_id uuid default null
) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_limits record;
    v_positions bigint;
    v_unknown boolean;
    v_now timestamptz;    -- a clock in the condition would be asked for every event that the user ever had
begin
    if exists (
            select from public.user_settings s
            where s.user_id = p_user_id
              and (s.max_orders_per_minute is not null or s.max_open_positions is not null)) then
        perform from public.user_settings s where s.user_id = p_user_id for no key update;
    else
        perform from public.user_settings s where s.user_id = p_user_id for share;
    end if;
    select s.trading_state, s.max_volume, s.max_orders_per_minute, s.max_open_positions, s.daily_loss_limit_pct
    into v_limits
    from public.user_settings s where s.user_id = p_user_id;
    if v_limits.trading_state in ('halted', 'reducing') then
        return 'trading_' || v_limits.trading_state;
    elsif not coalesce(p_volume <= v_limits.max_volume, v_limits.max_volume is null) then
        return 'volume_out_of_range';
    end if;
    v_now := public._now();
    if v_limits.max_orders_per_minute is not null and v_limits.max_orders_per_minute <= (
            select count(*)
            from (
                select e.event, e.side from public.trade_events e
                where e.user_id = p_user_id and e.occurred_at > v_now - interval '60 seconds'
                offset 0    -- the index of all orders that the user ever made may not come into question
            ) e
            where e.event = 'requested' and e.side is not null) then    -- a close has no side, and is never too many
        return 'rate_limited';
    end if;
    if v_limits.max_open_positions is not null then
        select sum(b.open_positions),
               bool_or(b.open_positions is null) filter (where b.id = p_broker_connection_id)
        into v_positions, v_unknown
        from public.broker_connections b where b.user_id = p_user_id;
        if v_positions is null or v_unknown then
            return 'risk_data_unavailable';
        elsif v_positions + public._in_flight(p_user_id) >= v_limits.max_open_positions then
            return 'max_positions';
        end if;
    end if;
    return coalesce(
        public._loss_gate(
            p_user_id, coalesce(p_loss_limit_pct, v_limits.daily_loss_limit_pct), p_broker_connection_id),
        (select 'broker_errors' from public.broker_connections b
         where b.id = p_broker_connection_id and b.paused_until > v_now));
end;
$$;
