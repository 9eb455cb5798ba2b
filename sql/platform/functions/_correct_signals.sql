-- public._correct_signals: tells signals that their order, which ended without a fill, was filled after all.
-- Returns: nothing.
-- Writes: tv_signals
-- Locks: the signals, by id; it waits for those that others hold.
-- Calls: _deals, _now
-- Raises: nothing
-- Notes: They are executed, at the mean price of the report's deals. A signal that has a newer order is left to that;
--   one that closes, whose positions are several, too.
create or replace function public._correct_signals(p_user_id uuid, p_broker_connection_id uuid, p_deals jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_now timestamptz := public._now();
    v_fill record;
begin
    for v_fill in
        select s.id, max(d.broker_order_id) as broker_order_id,
               round(sum(d.price * d.volume) / nullif(sum(d.volume), 0), 8) as price
        from public._deals(p_user_id, p_broker_connection_id, p_deals) d
        join jobengine.ended e on e.job_id = d.job_id and e.status in ('failed', 'cancelled', 'expired')
        join public.tv_signals s on s.id = d.signal_id and s.user_id = p_user_id and s.job_id = d.job_id
        where d.job_type = 'trade' and s.status in ('failed', 'discarded')
        group by s.id
        order by s.id
    loop
        update public.tv_signals s
        set status = 'executed', fill_price = v_fill.price, broker_order_id = v_fill.broker_order_id,
            error_message = null, resolved_at = v_now
        where s.id = v_fill.id and s.status in ('failed', 'discarded');
    end loop;
end;
$$;
