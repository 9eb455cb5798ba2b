-- A drain as a claimer does it: take a batch, then report all of it, in two transactions. The ids travel
-- through the client, as does the mark: the last key taken, where the next claim begins.
-- Variables: batch, marks ('[]' at first).
select array_agg(job_id) as job_ids, array_agg(lease_epoch) as epochs,
       array_agg('completed'::text) as outcomes, array_agg('{"ok": true}'::jsonb) as outputs,
       jsonb_build_array(jsonb_build_object(
           'tenant_id', '00000000-0000-0000-0000-000000000000', 'queue', 'default', 'priority', 5,
           'run_at', (array_agg(run_at))[:batch::integer], 'job_id', (array_agg(job_id))[:batch::integer])) as marks
from jobengine.claim(jsonb_build_array(jsonb_build_object(
    'queues', jsonb_build_array('default'), 'agent_id', 'pgbench', 'limit', :batch::integer,
    'tenants', jsonb_build_array('00000000-0000-0000-0000-000000000000'), 'marks', :marks::jsonb))) \gset
select count(*) from jobengine.finish(:job_ids, :epochs, :outcomes, :outputs);
