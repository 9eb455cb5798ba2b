-- public.orders: trade and close_position jobs as orders. The caller's rights count: a user sees the user's own.
-- What became of one that is filled is what its agent answered, or the deals that resolved it. One that has ended
-- without a fill keeps its status; `late_deal_id` is the deal that the broker made of it after all.
create or replace view public.orders with (security_invoker = true) as
select
    j.job_id as order_id,
    j.tenant_id as user_id,
    j.meta ->> 'client_order_id' as client_order_id,
    case when j.job_type = 'trade' then 'open' else 'close' end as kind,
    public._order_status(j.job_type, j.status, j.output) as status,
    coalesce(j.output ->> 'symbol', j.input ->> 'symbol') as symbol,
    coalesce(j.input ->> 'side', j.output ->> 'side') as side,
    coalesce(public._number(j.input -> 'volume'), public._number(j.output -> 'volume')) as volume,
    case when j.status = 'completed' then
        coalesce(public._number(j.output -> 'volume'), public._number(j.input -> 'volume')) end as filled_volume,
    public._number(j.input -> 'sl') as sl,
    public._number(j.input -> 'tp') as tp,
    coalesce(public._number(j.output -> 'fill_price'), public._number(j.output -> 'closed_price')) as fill_price,
    public._money(j.output -> 'pnl') as pnl,
    j.output ->> 'broker_order_id' as broker_order_id,
    coalesce(j.output ->> 'position_id', j.output ->> 'ticket', j.input ->> 'ticket') as position_id,
    nullif(nullif(j.output ->> 'deal_id', ''), '0') as deal_id,
    public._integer(j.output -> 'retcode') as retcode,
    j.output ->> 'retcode_name' as retcode_name,
    coalesce(j.output ->> 'error_code', j.error_code) as error_code,
    j.error_message as message,
    public._uuid(j.meta ->> 'broker_connection_id') as broker_connection_id,
    coalesce(public._uuid(j.agent_id), public._uuid(j.meta ->> 'agent_id')) as agent_id,
    coalesce(j.input ->> 'source', 'manual') as source,
    j.created_at,
    j.claimed_at,
    j.started_at as sent_at,
    j.finished_at,
    coalesce(j.expires_at, j.created_at + make_interval(secs => public._number(j.meta -> 'expires_in')::float8))
        as expires_at,
    case when j.status in ('failed', 'cancelled', 'expired') then (
        select min(e.deal_id) from public.trade_events e where e.job_id = j.job_id) end as late_deal_id
from jobengine.jobs j
where j.job_type in ('trade', 'close_position');
