-- What the database says of one run: every job with its end, for the proof to compare with the disk.
select j.input ->> 'folder' as folder, j.input ->> 'path' as path, j.status, (j.output ->> 'bytes')::bigint as bytes,
       (j.output ->> 'digest')::bigint as digest, j.lease_epoch, j.error_code,
       extract(epoch from j.started_at - j.created_at)::float8 * 1000 as wait_ms,
       extract(epoch from j.finished_at - j.started_at)::float8 * 1000 as run_ms,
       (select count(*) from jobengine_demo.settled s where s.run = j.tenant_id and s.job_id = j.job_id) as settles
from jobengine.jobs j
where j.tenant_id = %s
