-- public.settle_close_position: carries the end of close_position jobs to trade_events and to their signals.
-- Returns: nothing.
-- Writes: nothing
-- Locks: what _settle_closing locks.
-- Calls: _order_events, _order_ends, _settle_closing
-- Raises: nothing
create or replace function public.settle_close_position(p_jobs jobengine.settled_job[]) returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
    select public._order_events(p_jobs);
    select public._order_ends(p_jobs);
    select public._settle_closing(p_jobs)
$$;
