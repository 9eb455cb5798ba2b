-- public._fence_trades: keeps trades from beginning whose user has halted or reduced trading.
-- Returns: nothing.
-- Writes: nothing
-- Locks: the settings of the users whose trades are to begin, by id, with others who begin or put in; it waits for who
--   changes them. Then what jobengine.cancel locks.
-- Calls: jobengine.cancel
-- Raises: JE004
-- Notes: For who begins these jobs in the same transaction. Such a trade is cancelled with the gate's code as its
--   reason. Who changes the state waits for the starts that came before, so after that no trade begins.
create or replace function public._fence_trades(p_job_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
begin
    perform from public.user_settings s
    where s.user_id = any (array(
        select l.tenant_id from jobengine.lease l where l.job_id = any (p_job_ids) and l.job_type = 'trade'))
    order by s.user_id
    for share;
    if not found then
        return;
    end if;
    perform jobengine.cancel(p_job_ids => w.job_ids, p_reason => w.reason)
    from (
        select array_agg(l.job_id) as job_ids, 'trading_' || s.trading_state as reason
        from jobengine.lease l
        join public.user_settings s on s.user_id = l.tenant_id
        where l.job_id = any (p_job_ids) and l.job_type = 'trade' and l.started_at is null
          and s.trading_state <> 'active'
        group by s.trading_state
    ) w;
end;
$$;
