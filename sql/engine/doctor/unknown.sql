-- jobengine doctor, unknown: jobs of which nobody knows what became of them, by job type.
-- Reads: jobengine.ended, jobengine.job
-- Rights: jobengine_operator, or the owner
select
    j.job_type as name,
    count(*) as jobs,
    extract(epoch from clock_timestamp() - min(e.finished_at))::double precision as seconds
from jobengine.ended e
join jobengine.job j on j.job_id = e.job_id
where e.status = 'unknown'
group by j.job_type
order by jobs desc, name;
