-- public._deals: reads a report of deals and finds the orders that they are of.
-- Returns: one row per deal, oldest first; job_id is null for one that no order of this account has made.
-- Writes: nothing
-- Locks: nothing
-- Calls: _now, _number, _money, _uuid, _time, _job_of_comment
-- Raises: nothing
-- Notes: A deal is of the order that its comment names. One of the other side is not of the trade: terminals may
--   hand a position's comment on to what closes it. No deal is of the future, nor from before 1970, whatever the
--   agent's clock says.
create or replace function public._deals(p_user_id uuid, p_broker_connection_id uuid, p_deals jsonb)
returns table (
    deal_id text, job_id uuid, job_type text, signal_id uuid, strategy_id uuid, entry text, symbol text, side text,
    volume numeric, price numeric, profit numeric, commission numeric, swap numeric, broker_order_id text,
    position_id text, detail jsonb, occurred_at timestamptz
)
language sql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    select distinct on (t.occurred_at, d.deal ->> 'deal_id')
           d.deal ->> 'deal_id', j.job_id, j.job_type,
           coalesce(public._uuid(j.meta ->> 'parent_id'), public._uuid(j.input ->> 'signal_id')),
           public._uuid(j.input ->> 'strategy_id'),
           d.deal ->> 'entry', d.deal ->> 'symbol', d.deal ->> 'side',
           public._number(d.deal -> 'volume'), public._number(d.deal -> 'price'),
           public._money(d.deal -> 'profit'), public._money(d.deal -> 'commission'),
           public._money(d.deal -> 'swap'), d.deal ->> 'broker_order_id', d.deal ->> 'position_id',
           jsonb_strip_nulls(jsonb_build_object(
               'reason', d.deal -> 'reason', 'entry', d.deal -> 'entry', 'magic', d.deal -> 'magic',
               'comment', d.deal -> 'comment')),
           t.occurred_at
    from jsonb_array_elements(p_deals) d (deal)
    cross join lateral (select least(greatest(
        public._time(d.deal ->> 'time'), timestamptz '1970-01-01 00:00:00+00'), public._now()) as occurred_at) t
    left join lateral (
        select b.job_id, b.job_type, b.input, b.meta
        from jobengine.job b
        where b.job_id = public._job_of_comment(d.deal ->> 'comment') and b.tenant_id = p_user_id
          and public._uuid(b.meta ->> 'broker_connection_id') = p_broker_connection_id
          and (b.job_type = 'close_position'
               or b.job_type = 'trade' and b.input ->> 'side' is not distinct from d.deal ->> 'side')
        limit 1
    ) j on true
    order by t.occurred_at, d.deal ->> 'deal_id'
$$;
