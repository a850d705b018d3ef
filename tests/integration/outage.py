"""Kafka and then PostgreSQL go away for a while and come back: processes stay, nothing is lost, nothing comes twice.

The servers of this suite are its own, because it stops them."""
import atexit, os, re, signal, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import lockstep_test
from lockstep_test import KEEP, ROOT, Scenario, main, wait_for

STACK = f'{ROOT}/build/tests/stack-outage-{os.getpid()}'


def stack(verb):
    return subprocess.run([f'{ROOT}/compose/stack', verb, '--dir', STACK], check=True, capture_output=True, text=True).stdout


def own_servers():
    env = dict(re.findall(r'export (\w+)=(\S+)', stack('up')))
    os.environ['LS_TEST_KAFKA'], os.environ['LS_TEST_PG'] = env['KAFKA'], env['PG_URL'] + '/postgres'
    atexit.register(stack, 'down')


def end(pid_file, how):
    with open(os.path.join(STACK, pid_file)) as f:
        pid = int(f.readline().split()[0])
    os.kill(pid, how)

    def gone():
        try:
            with open(f'/proc/{pid}/stat') as f:
                return f.read().rsplit(')', 1)[1].split()[0] == 'Z'
        except FileNotFoundError:
            return True
    wait_for(gone, 60, f'{pid_file} to end')


class Outage(Scenario):
    def running(self):
        w = self.world
        with open(f'{ROOT}/tests/support/workload.sql') as f:
            w.source.sql(f.read())
        w.source.sql('alter table contacts replica identity full')
        w.destination.sql("""create table contacts (id bigint primary key, name text not null, email text, stage text, score numeric(12, 2), tags text[],
            detail jsonb, notes text, rev bigint, updated_at timestamptz)""")
        w.audit('contacts')
        w.configure()
        self.capture, self.sink = w.start('capture', wait=True), w.start('sink', wait=True)
        w.source.sql('call fill(500)')
        w.settle()
        return w

    def once(self, w):
        last = {}
        for op, key, new in w.destination.sql("select op, key, (new ->> 'rev')::bigint from audit order by n"):
            if op != 'DELETE':
                self.assertGreater(new, last.get(key, 0), f'{op} of {key}')
                last[key] = new
        self.assertEqual(w.destination.one('select count(*) from identity.sync_processed_events'), len({e['event_id'] for e in w.events()}))
        self.assertEqual(w.dead(), [])

    def test_kafka_goes_away_and_comes_back(self):
        w = self.running()
        w.source.sql('call work(300, 0.1, 20)')
        end('kafka.pid', signal.SIGKILL)
        w.source.sql('call work(1000, 0.2, 20)')
        time.sleep(8)  # the outage itself
        for process in (self.capture, self.sink):
            self.assertFalse(process.ended(), process.tail())
        stack('up')
        w.settle(seconds=90, alive=[self.capture, self.sink])
        self.assertIsNone(w.same('contacts'))
        self.once(w)
        # At most once: where the broker forgot the group, and records of version state were still on their way.
        self.assertLessEqual(self.sink.text().count('restart in'), 1, self.sink.text())
        self.assertNotIn('restart in', self.capture.text(), 'the capture lane waits, it does not begin anew')

    def test_a_stop_while_kafka_is_away_ends_in_time_and_loses_nothing(self):
        w = self.running()
        end('kafka.pid', signal.SIGKILL)
        w.source.sql('call work(300, 0.3, 20)')
        time.sleep(3)
        for process in (self.capture, self.sink):
            self.assertEqual(process.stop(25), 0, process.tail())
        stack('up')
        self.capture, self.sink = w.start('capture'), w.start('sink')
        w.settle(seconds=90, alive=[self.capture, self.sink])
        self.assertIsNone(w.same('contacts'))
        self.once(w)

    def test_postgres_goes_away_and_comes_back(self):
        w = self.running()
        w.source.sql('call work(300, 0.4, 20)')
        for db in (w.source, w.destination, w.maintenance):
            db.conn.close()
        with open(f'{STACK}/pg.home') as f:
            end(f'{f.read().strip()}/data/postmaster.pid', signal.SIGQUIT)
        time.sleep(4)  # the outage itself
        for process in (self.capture, self.sink):
            self.assertFalse(process.ended(), process.tail())
        self.assertIn(os.environ['LS_TEST_PG'].rsplit('/', 1)[0], stack('up'), 'the same address as before')
        for db in (w.source, w.destination, w.maintenance):
            db.conn = lockstep_test.psycopg.connect(db.url, autocommit=True)
        w.source.sql('call work(300, 0.5, 20)')
        w.settle(seconds=90, alive=[self.capture, self.sink])
        self.assertIsNone(w.same('contacts'))
        self.once(w)


own_servers()
main()
