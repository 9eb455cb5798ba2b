-- public.settle_trade: carries the end of trade jobs to trade_events and, of a signal's, to the signal.
-- Returns: nothing.
-- Writes: tv_signals
-- Locks: the signals, by id; it waits for those that others hold.
-- Calls: _now, _uuid, _number, _order_events, _order_ends, _note_broker
-- Raises: nothing
-- Notes: completed: executed; failed: failed; cancelled and expired: discarded; unknown: still pending, with
--   outcome_unknown, until somebody knows. Only the newest job of a signal counts. A signal that was deleted with its
--   strategy is no parent_gone: raising it would take the event back, and a fill must be on record.
create or replace function public.settle_trade(p_jobs jobengine.settled_job[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := public._now();
begin
    perform s.id from public.tv_signals s
    where s.id in (
        select coalesce(public._uuid(j.meta ->> 'parent_id'), public._uuid(j.input ->> 'signal_id'))
        from unnest(p_jobs) j)
    order by s.id
    for no key update;
    perform public._order_events(p_jobs);
    perform public._order_ends(p_jobs);
    perform public._note_broker(p_jobs);
    with newest as (
        select distinct on (i.signal_id) i.signal_id, j.*
        from unnest(p_jobs) j
        cross join lateral (
            select coalesce(public._uuid(j.meta ->> 'parent_id'), public._uuid(j.input ->> 'signal_id')) as signal_id) i
        where j.input ->> 'source' = 'tv_signal' or j.meta ->> 'parent_type' = 'tv_signal'
        order by i.signal_id, j.job_id desc
    )
    update public.tv_signals s
    set status = case n.status
            when 'completed' then 'executed'
            when 'failed' then 'failed'
            when 'cancelled' then 'discarded'
            when 'expired' then 'discarded'
            else 'pending' end,
        fill_price = case when n.status = 'completed' then public._number(n.output -> 'fill_price') end,
        broker_order_id = case when n.status = 'completed' then
            coalesce(n.output ->> 'broker_order_id', n.output ->> 'ticket') end,
        error_message = case n.status
            when 'failed' then coalesce(n.error_message, n.error_code, 'failed')
            when 'cancelled' then coalesce(n.error_message, 'cancelled')
            when 'expired' then 'expired'
            when 'unknown' then 'outcome_unknown' end,
        resolved_at = case when n.status not in ('pending', 'unknown') then v_now end
    from newest n
    where s.id = n.signal_id and s.user_id = n.tenant_id and (s.job_id is null or s.job_id <= n.job_id);
end;
$$;
