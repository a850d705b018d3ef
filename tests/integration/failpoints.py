"""Killed at every named place of the code, and answered with an error where it can be: afterwards all is there, once.

The names are read from the code, so a new one is tried without a word here. Each is hit once in its own process, which
then starts again without it; both tables, the destination's own log of its row changes, its marks and the dead letters
are looked at after each.
"""
import glob, os, re, shutil, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import ROOT, SEED, Scenario, main, wait_for

import signal

CALL = re.compile(r'LS_FAILPOINT(_ERROR)?\("([^"]+)"')
# Which hits are tried with `kill`; (1, 3) unless said here.
HITS = {
    'sink.claim': (1,),      # once per assignment
    'sink.revoke': (1,),     # once per rebalance
    'postgres.chunk': (1,),  # once per key range, see the snapshot's own test
}
INSIDE = {}  # names that cannot fire here, with the reason


def failpoints():
    """{name: can answer with an error}"""
    found = {}
    for wing in ('producer', 'consumer', 'shared'):
        for file in glob.glob(f'{ROOT}/{wing}/**/*.c', recursive=True):
            with open(file) as f:
                for error, name in CALL.findall(f.read()):
                    found[name] = found.get(name, False) or bool(error)
    return found


POINTS = {name: error for name, error in failpoints().items() if name not in INSIDE}
SNAPSHOT = {name for name in POINTS if name == 'postgres.chunk'}
SINK = {name for name in POINTS if name.split('.')[0] in ('sink', 'pg')}
CAPTURE = set(POINTS) - SINK - SNAPSHOT


class Failpoints(Scenario):
    def open(self, rows=0):
        w = self.world
        with open(f'{ROOT}/tests/support/workload.sql') as f:
            w.source.sql(f.read())
        w.source.sql('alter table contacts replica identity full')
        w.destination.sql("""create table contacts (id bigint primary key, name text not null, email text, stage text, score numeric(12, 2), tags text[],
            detail jsonb, notes text, rev bigint, updated_at timestamptz)""")
        w.audit('contacts')
        w.source.sql(f'call fill({rows})')
        # A killed member of the group is missed after six seconds at most, one that comes back under its name at once.
        w.configure(kafka={'bootstrap.servers': w.kafka, 'session.timeout.ms': '6000'}, sources=[
            {'name': 'crm', 'type': 'postgres', 'url': w.source.url, 'snapshot_chunk_rows': 1000, 'tables': [{'table': 'public.contacts', 'entity': 'contact'}]}])
        self.seed, self.checked, self.last, self.garbage = SEED % 1000, 0, {}, 0
        self.process = {}
        return w

    def start(self, wing, env=None, **more):
        self.process[wing] = self.world.start(wing, name=wing, instance='one', env=env, **more)
        return self.process[wing]

    def work(self, n, most=20):
        self.seed += 7
        self.world.source.sql(f'call work({n}, {self.seed % 1000 / 1000}, {most})')

    def poison(self):
        """An event that no sink can read; it becomes a dead letter."""
        producer = self.world.producer()
        producer.produce(self.world.topic(), key=f'garbage {self.garbage}', value=b'no event')
        producer.flush(30)
        self.garbage += 1

    def fires(self, point, action, hit, wing):
        """One process with the failpoint, until it has fired; then one without."""
        w = self.world
        if wing in self.process:
            self.process[wing].kill()
        process = self.start(wing, env={'LOCKSTEP_FAILPOINT': f'{point}:{action}:{hit}'}, http=point == 'sink.revoke')
        if 'dead' in point:
            self.poison()
        self.work(250)
        other = None
        if point == 'sink.revoke':
            wait_for(lambda: w.get(process, '/readyz')[0] == 200, 30, 'the sink to own partitions', alive=[process])
            other = w.start('sink', name='sink-other')
        if action == 'kill':
            wait_for(lambda: process.ended() or self.work(20), 30, f'{point}:{action}:{hit} to fire\n{process.tail()}', every=0.3)
            self.assertEqual(process.popen.returncode, -signal.SIGKILL, process.tail())
            self.work(50)
            if wing == 'sink' and hit > 1:
                shutil.rmtree(process.state)
            self.start(wing)
        else:
            wait_for(lambda: f'failpoint {point} answered' in process.text() or self.work(20), 30, f'{point}:{action}:{hit} to fire', every=0.3)
            self.work(50)
        if other:
            self.assertEqual(other.stop(), 0)
        self.right(f'{point}:{action}:{hit}')

    def right(self, what):
        w = self.world
        wait_for(lambda: w.caught_up() and w.same("contacts") is None, 40, f"{what}: equal tables", alive=list(self.process.values()))
        self.assertIsNone(w.same('contacts'), what)
        self.once(what)
        self.assertEqual(len(w.dead()), self.garbage, f'{what}: dead letters')

    def once(self, what):
        """No row change at the destination goes back to an older revision, or is made twice."""
        wrong = []
        for n, op, key, old, new in self.world.destination.sql(
                "select n, op, key, (old ->> 'rev')::bigint, (new ->> 'rev')::bigint from audit where n > %s order by n", self.checked):
            self.checked = n
            if op == 'DELETE':
                if old < self.last.get(key, 0):
                    wrong.append(f'change {n}: {key} deleted at rev {old} after rev {self.last[key]}')
                continue
            if new <= self.last.get(key, 0):
                wrong.append(f'change {n}: {op} of {key} from rev {old} to {new} after rev {self.last.get(key)}')
            self.last[key] = max(new, self.last.get(key, 0))
        self.assertEqual(wrong[:10], [], f'{what}: {len(wrong)} row changes went back or came twice')

    def processed(self):
        """The ledger holds every distinct event of the topic, and nothing else."""
        w = self.world
        events = {e['event_id'] for e in self.readable(w)}
        self.assertEqual(w.destination.one('select count(*) from identity.sync_processed_events'), len(events), 'processed events and distinct events of the topic')

    @staticmethod
    def readable(w):
        import io

        import fastavro
        schemas = w.schemas()
        for m in w.read(w.topic()):
            if m.value() != b'no event':
                yield fastavro.schemaless_reader(io.BytesIO(m.value()[10:]), schemas[m.value()[2:10].hex()])

    def every(self, points, wing):
        for point in sorted(points):
            for hit in HITS.get(point, (1, 3)):
                self.fires(point, 'kill', hit, wing)
            if POINTS[point]:
                self.fires(point, 'error', 2 if point == 'postgres.poll' else 1, wing)
        self.processed()

    def test_capture_at_each_of_its_places(self):
        self.open(100)
        self.start('sink')
        self.every(CAPTURE, 'capture')

    def test_sink_at_each_of_its_places(self):
        self.open(100)
        self.start('capture')
        self.every(SINK, 'sink')

    def test_snapshot_after_some_of_its_ranges(self):
        w = self.open(6000)
        self.start('sink')
        for point in SNAPSHOT:
            for hit in (1, 2):
                process = self.start('capture', env={'LOCKSTEP_FAILPOINT': f'{point}:kill:{hit}'})
                wait_for(process.ended, 30, f'{point}:kill:{hit} to fire')
                self.assertEqual(process.popen.returncode, -signal.SIGKILL, process.tail())
                self.work(100)
            process = self.start('capture', env={'LOCKSTEP_FAILPOINT': f'{point}:error'})
            wait_for(lambda: f'failpoint {point} answered' in process.text(), 30, f'{point}:error to fire', alive=[process])
        self.work(100)
        w.settle(alive=list(self.process.values()))
        wait_for(lambda: w.same('contacts') is None, 30, 'equal tables', every=0.5)
        self.assertEqual(w.dead(), [])


main()
