import time, itertools, collections
from tests.races.world import *
from tests.races.interleavings import *
from tests.races.sessions import opened
from tests.races.calls import sweep
from tests.races.jobs import run
import psycopg
from psycopg.rows import dict_row

def test_try(db, clock, database_url):
    world = build(db, clock)
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as watcher, opened(database_url, watcher, 3) as ss:
        for s in ss: s.run(Call(psycopg.sql.SQL("set synchronous_commit=off"), {}))
        il = Interleaver(ss, watcher, lambda: None)
        tot=0; t0=time.time(); bad=collections.Counter(); badjob=collections.Counter(); badstrict=0
        examples={}
        def sig(h):
            state0=world.state()
            run(db, sweep())
            st = world.state()
            said = [world.said(h.answers.get(n, [])) for n in range(3)]
            return st, said
        for names in itertools.combinations_with_replacement(OPERATIONS, 3):
            calls=[OPERATIONS[n](world,i) for i,n in enumerate(names)]
            serial=set(); perjob=collections.defaultdict(set)
            def keys(h):
                st,said = sig(h)
                return {j:(tuple(s.get(j) for s in said), tuple(sorted((k,str(v)) for k,v in st[j].items()))) for j in world.jobs}
            for o in itertools.permutations(range(3)):
                world.restore()
                k=keys(il.run_alone(calls,o))
                serial.add(tuple(sorted(k.items())))
                for j,v in k.items(): perjob[j].add(v)
            ch=Choices(); n=0; t=time.time()
            for _ in ch.runs():
                world.restore()
                h=il.run(calls,ch.choose); n+=1
                assert not h.errors, (names,h)
                k=keys(h)
                if tuple(sorted(k.items())) not in serial: badstrict+=1; bad[names]+=1
                for j,v in k.items():
                    if v not in perjob[j]:
                        badjob[names,j]+=1; examples.setdefault((names,j),(h.steps,v,perjob[j]))
            tot+=n
            print(names,n,round(time.time()-t,2), bad[names])
        print(tot,time.time()-t0,badstrict)
        for k,v in badjob.items(): print(k,v,examples[k])
