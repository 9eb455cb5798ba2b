-- As drain.sql, but every claim walks the index from its start, over what was claimed before.
-- Variables: batch.
select array_agg(job_id) as job_ids, array_agg(lease_epoch) as epochs,
       array_agg('completed'::text) as outcomes, array_agg('{"ok": true}'::jsonb) as outputs
from jobengine.claim(jsonb_build_array(jsonb_build_object(
    'queues', jsonb_build_array('default'), 'agent_id', 'pgbench', 'limit', :batch::integer,
    'tenants', jsonb_build_array('00000000-0000-0000-0000-000000000000')))) \gset
select count(*) from jobengine.finish(:job_ids, :epochs, :outcomes, :outputs);
