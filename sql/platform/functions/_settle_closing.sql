-- public._settle_closing: carries the ends of close_position jobs to the signals that asked for them.
-- Returns: nothing.
-- Writes: tv_signals
-- Locks: the signals, by id; it waits for those that others hold.
-- Calls: _now, _uuid, _number, _integer
-- Raises: nothing
-- Notes: A signal is executed when all of its positions are closed, at their mean price weighted by volume; failed when
--   one of them is not, or only in part; still pending while one is under way or its end is unknown.
create or replace function public._settle_closing(p_jobs jobengine.settled_job[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_now timestamptz := public._now();
    v_signal_ids uuid[] := array(
        select distinct public._uuid(j.meta ->> 'parent_id') from unnest(p_jobs) j
        where j.meta ->> 'parent_type' = 'tv_signal');
begin
    perform s.id from public.tv_signals s where s.id = any (v_signal_ids) order by s.id for no key update;
    update public.tv_signals s
    set status = case when n.open > 0 then 'pending' when n.closed = n.jobs then 'executed' else 'failed' end,
        fill_price = n.price,
        broker_order_id = n.broker_order_id,
        error_message = case when n.unknown > 0 then 'outcome_unknown' when n.open = 0 then n.error end,
        resolved_at = case when n.open = 0 then v_now end
    from (
        select d.signal_id, count(*) as jobs,
               count(*) filter (where d.status = 'completed' and not d.partial) as closed,
               count(*) filter (where d.status not in ('completed', 'failed', 'cancelled', 'expired')) as open,
               count(*) filter (where d.status = 'unknown') as unknown,
               coalesce(max(d.error) filter (where d.status in ('failed', 'cancelled', 'expired')),
                        max('partially_filled') filter (where d.partial)) as error,
               max(d.output ->> 'broker_order_id') as broker_order_id,
               sum(public._number(d.output -> 'closed_price') * public._number(d.output -> 'volume'))
                   / nullif(sum(public._number(d.output -> 'volume')), 0) as price
        from (
            select e.signal_id, e.job_id, coalesce(p.status, w.status) as status,
                   coalesce(p.output, w.output) as output,
                   coalesce(public._integer(coalesce(p.output, w.output) -> 'retcode') = 10010, false) as partial,
                   coalesce(p.error_message, p.error_code, w.error_message, w.error_code, p.status, w.status) as error
            from public.trade_events e
            join jobengine.jobs w on w.job_id = e.job_id
            left join unnest(p_jobs) p on p.job_id = e.job_id
            where e.signal_id = any (v_signal_ids) and e.event = 'requested'
        ) d
        group by d.signal_id
    ) n
    where s.id = n.signal_id;
end;
$$;
