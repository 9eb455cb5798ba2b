-- What the database says of the jobs of these users, each with its parent or order, in one snapshot.
select j.id as job_id, j.user_id, j.job_type, j.status, j.queue, j.agent_id, j.lease_epoch,
       j.output_data, j.error_message, j.parent_type, j.parent_id,
       extract(epoch from j.created_at)::float8 as created_at,
       extract(epoch from j.claimed_at)::float8 as claimed_at,
       extract(epoch from j.started_at)::float8 as started_at,
       extract(epoch from j.finished_at)::float8 as finished_at,
       e.settled_status, e.settle_error,
       coalesce(v.status, d.status, s.status) as parent_state,
       coalesce(v.compilation_error, d.error_message, s.error_message) as parent_error,
       o.status as order_status, o.deal_id, o.fill_price::float8 as fill_price,
       o.filled_volume::float8 as filled_volume,
       array(select t.event from public.trade_events t where t.job_id = j.id order by t.id) as events
from public.jobs j
left join public.orders o on o.order_id = j.id
left join jobengine.ended e on e.job_id = j.id
left join public.ea_versions v on j.parent_type = 'ea_version' and v.id = j.parent_id
left join public.ea_deployments d on j.parent_type = 'ea_deployment' and d.id = j.parent_id
left join public.tv_signals s on j.parent_type = 'tv_signal' and s.id = j.parent_id
where j.user_id = any (%s)
order by j.created_at, j.id
