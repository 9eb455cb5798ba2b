-- A closed loop, as programs with claimers make it: a batch is put in, one is taken and reported, in three
-- transactions. The claim begins at the mark, the last key taken; one in 200 begins without, and the next one after a
-- claim that came short: that finds what became claimable behind the mark.
-- Variables: batch, marks ('[]' at first).
select count(*) from jobengine.enqueue(
    array_fill('noop'::text, array[:batch::integer]),
    array(select jsonb_build_object('n', 100000 + g, 'pad', repeat('x', 76)) from generate_series(1, :batch::integer) g));
select count(*) as found, array_agg(job_id) as job_ids, array_agg(lease_epoch) as epochs,
       array_agg('completed'::text) as outcomes, array_agg('{"ok": true}'::jsonb) as outputs,
       case when count(*) < :batch::integer or random() < 0.005 then '[]' else jsonb_build_array(jsonb_build_object(
           'tenant_id', '00000000-0000-0000-0000-000000000000', 'queue', 'default', 'priority', 5,
           'run_at', (array_agg(run_at))[:batch::integer], 'job_id', (array_agg(job_id))[:batch::integer])) end as marks
from jobengine.claim(jsonb_build_array(jsonb_build_object(
    'queues', jsonb_build_array('default'), 'agent_id', 'pgbench', 'limit', :batch::integer,
    'tenants', jsonb_build_array('00000000-0000-0000-0000-000000000000'), 'marks', :marks::jsonb))) \gset
\if :found
select count(*) from jobengine.finish(:job_ids, :epochs, :outcomes, :outputs);
\endif
