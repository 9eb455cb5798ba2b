-- jobengine doctor, unsettled: ended jobs whose parents do not know it yet, by error.
-- Reads: jobengine.ended
-- Rights: jobengine_operator, or the owner
select
    e.settle_error as error,
    count(*) as jobs,
    extract(epoch from clock_timestamp() - min(e.finished_at))::double precision as seconds
from jobengine.ended e
where e.settle_at is not null
group by e.settle_error
order by jobs desc, error;
