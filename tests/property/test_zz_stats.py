import os
from collections import Counter
from hypothesis import settings, seed
from hypothesis.stateful import run_state_machine_as_test
from tests.property.machine import bound, EngineMachine
from tests.property import pair as pm
from tests.property.pair import prepare, Pair
C=Counter()
orig=Pair._agree
def agree(self, what, e, f):
    if what in('start','extend','release'):
        for v in f: C[what,v]+=1
    elif what in('finish','enqueue'):
        for v in f: C[(what,)+tuple(v if what=='finish' else v[:1])]+=1
    elif what in('cancel','retry'):
        for v in f.values(): C[(what,)+v]+=1
    elif what=='claim': C['claim',min(len(f),3)]+=1
    elif what=='sweep':
        for n,x in zip(('ret','end','settled'),f): C['sweep',n,x>0]+=1
    elif what=='prune': C['prune',f>0]+=1
    return orig(self,what,e,f)
oc=Pair.check
def check(self):
    C['steps']+=1
    oc(self)
    for j in self._seen.jobs.values():
        if j['settle_error']: C['settle_error',j['settle_error']]+=1
def test_x(db):
    Pair._agree=agree; Pair.check=check
    m=seed(int(os.environ.get('SEED','1')))(bound(db,prepare(db)))
    try:
        run_state_machine_as_test(m,settings=settings(max_examples=int(os.environ.get('N','150')),stateful_step_count=int(os.environ.get('S','30')),database=None))
    finally:
        for k,v in sorted(C.items(),key=str): print(k,v)
