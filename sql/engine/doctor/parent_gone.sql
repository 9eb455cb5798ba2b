-- jobengine doctor, parent_gone: ended jobs whose parent was not there when they ended, by job type.
-- Reads: jobengine.ended, jobengine.job
-- Rights: jobengine_operator, or the owner
-- No index: it reads all of `ended`, so it may be cut off by statement_timeout.
select
    j.job_type as name,
    count(*) as jobs,
    extract(epoch from clock_timestamp() - min(e.finished_at))::double precision as seconds
from jobengine.ended e
join jobengine.job j on j.job_id = e.job_id
where e.settle_at is null and e.settle_error = 'parent_gone'
group by j.job_type
order by jobs desc, name;
