-- public._note_deals: notes the deals of a report that are not known.
-- Returns: how many.
-- Writes: trade_events
-- Locks: nothing
-- Calls: _deals, _now
-- Raises: nothing
-- Notes: What a deal of an order is called is the order's matter; without one, a deal that opens is `filled`, one
--   that closes `closed` (a stop-loss, somebody at the terminal). `reconciled` where the order's fill is on record
--   without a deal, so that an order is filled once. A deal of
--   an order that had ended without a fill is followed by a `reconciled` of the order's, with `ended` and `deal_id` in
--   detail: an end state stays, so that is how it is told. A trigger counts the money.
create or replace function public._note_deals(
    p_agent_id uuid, p_user_id uuid, p_broker_connection_id uuid, p_deals jsonb
) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_noted integer;
begin
    with noted as (
        insert into public.trade_events (
            user_id, agent_id, broker_connection_id, job_id, signal_id, strategy_id, event, symbol, side, volume, price,
            broker_order_id, deal_id, position_id, realized_pnl, commission, swap, actor, detail, occurred_at)
        select p_user_id, p_agent_id, p_broker_connection_id, d.job_id, d.signal_id, d.strategy_id,
               case when exists (
                        select from public.trade_events e
                        where e.job_id = d.job_id and e.deal_id is null
                          and e.event in ('filled', 'partially_filled', 'closed')) then 'reconciled'
                    when d.job_type = 'trade' then 'filled'
                    when d.job_type = 'close_position' then 'closed'
                    when d.entry in ('out', 'out_by') then 'closed'
                    else 'filled' end,
               d.symbol, d.side, d.volume, d.price, d.broker_order_id, d.deal_id, d.position_id, d.profit, d.commission,
               d.swap, 'agent', d.detail, d.occurred_at
        from public._deals(p_user_id, p_broker_connection_id, p_deals) d
        order by d.occurred_at, d.deal_id
        on conflict (broker_connection_id, deal_id) do nothing
        returning job_id, signal_id, strategy_id, deal_id
    ), contradicted as (
        insert into public.trade_events (
            user_id, agent_id, broker_connection_id, job_id, signal_id, strategy_id, event, actor, detail, occurred_at)
        select p_user_id, p_agent_id, p_broker_connection_id, n.job_id, n.signal_id, n.strategy_id, 'reconciled',
               'platform', jsonb_build_object('ended', e.status, 'deal_id', n.deal_id), public._now()
        from noted n
        join jobengine.ended e on e.job_id = n.job_id and e.status in ('failed', 'cancelled', 'expired')
    )
    select count(*)::integer into v_noted from noted;
    return v_noted;
end;
$$;
