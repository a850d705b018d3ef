"""Kafka stands still or is away while changes come: the slot keeps what is not acknowledged, and the server keeps the stream.

The broker of this suite is its own, because it is stopped and killed."""
import atexit, os, re, signal, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import ROOT, Scenario, main, wait_for

STACK = f'{ROOT}/build/tests/stack-backpressure-{os.getpid()}'


def stack(verb):
    return subprocess.run([f'{ROOT}/compose/stack', verb, '--dir', STACK], check=True, capture_output=True, text=True).stdout


def own_servers():
    os.environ.setdefault('LOCKSTEP_POSTGRES', '18')  # any would do: this one is otherwise tried little
    env = dict(re.findall(r'export (\w+)=(\S+)', stack('up')))
    os.environ['LS_TEST_KAFKA'], os.environ['LS_TEST_PG'] = env['KAFKA'], env['PG_URL'] + '/postgres'
    atexit.register(stack, 'down')


def broker(how):
    with open(f'{STACK}/kafka.pid') as f:
        pid = int(f.readline().split()[0])
    os.kill(pid, how)
    return pid


def ended(pid):
    """Waits until the process is gone, or only waits to be forgotten."""
    def gone():
        try:
            with open(f'/proc/{pid}/stat') as f:
                return f.read().rsplit(')', 1)[1].split()[0] == 'Z'
        except FileNotFoundError:
            return True
    wait_for(gone, 60, 'the broker to end')


class Backpressure(Scenario):
    def prepare(self, source=(), **kafka):
        w = self.world
        w.source.sql('create table contacts (id bigint primary key, name text)')
        w.configure(kafka={'bootstrap.servers': w.kafka, **kafka})
        w.settings['sources'][0].update({'heartbeat_interval': '500ms', **dict(source)})
        w.write(w.config_file, w.settings)
        return w

    def walsender(self):
        """(pid, confirmed position) of the stream, None when there is none."""
        rows = self.world.source.sql("""select s.active_pid, s.confirmed_flush_lsn::text from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid
            where s.database = current_database()""")
        return rows[0] if rows else None

    def names(self):
        return {e['entity_id']: e['after']['name'] for e in self.world.events()}

    def rows(self):
        return {str(i): n for i, n in self.world.source.sql('select id, name from contacts')}

    def stalled(self, patience, rows, **kafka):
        """The broker stands still for much longer than wal_sender_timeout while more is written than capture has room for."""
        w = self.prepare(**kafka)
        w.source.sql(f"alter database {w.source.name} set wal_sender_timeout = '{patience}ms'")
        self.capture = w.start('capture', wait=True)
        w.source.sql("insert into contacts values (0, 'first')")
        wait_for(w.captured(), 60, 'the first to be confirmed', alive=[self.capture])
        first = self.walsender()
        broker(signal.SIGSTOP)
        try:
            for i in range(20):
                w.source.sql("insert into contacts select i, repeat('x', 200) from generate_series(%s::int, %s::int) i", 1 + i * rows // 20, (i + 1) * rows // 20)
            end = time.monotonic() + max(8, 6 * patience / 1000)
            while time.monotonic() < end:
                self.assertEqual((self.walsender() or (None,))[0], first[0], 'the same stream all the time')
                time.sleep(0.2)
            confirmed = self.walsender()[1]
        finally:
            broker(signal.SIGCONT)
        wait_for(w.captured(), 180, 'all to be confirmed', alive=[self.capture])
        self.assertEqual(self.walsender()[0], first[0])
        self.assertNotIn('restart in', self.capture.text())
        self.assertEqual(self.names(), self.rows())
        return w, confirmed

    def test_a_broker_that_stands_still_longer_than_the_server_waits_costs_neither_stream_nor_events(self):
        # room for 1,000 messages, so that capture has to stop reading
        w, confirmed = self.stalled(1000, 40000, **{'queue.buffering.max.messages': 1000})
        last = w.source.one("select pg_wal_lsn_diff(confirmed_flush_lsn, %s) from pg_replication_slots where database = current_database()", confirmed)
        self.assertGreater(last, 40000 * 200, 'nothing of it was confirmed while the broker stood still')

    def test_what_kafka_has_not_acknowledged_is_still_in_the_slot_when_capture_is_killed(self):
        w = self.prepare({'wal_status_interval': '200ms'})
        self.capture = w.start('capture', wait=True)
        w.source.sql("insert into contacts values (0, 'first')")
        wait_for(w.captured(), 60, 'the first to be confirmed', alive=[self.capture])
        ended(broker(signal.SIGKILL))
        before = w.source.one('select pg_current_wal_lsn()')
        w.source.sql("insert into contacts select i, 'away ' || i from generate_series(1, 2000) i")
        # It reads on until it holds as much as it may, and tells the server how far it read: not more than that.
        wait_for(lambda: w.source.one("""select r.write_lsn > %s::pg_lsn from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid
            where s.database = current_database()""", before), 60, 'capture to read what was written', alive=[self.capture])
        time.sleep(3)  # longer than any interval at which it confirms
        self.assertTrue(w.source.one('select confirmed_flush_lsn <= %s::pg_lsn from pg_replication_slots where database = current_database()', before))
        self.capture.kill()
        stack('up')
        self.capture = w.start('capture', wait=True)
        wait_for(w.captured(), 120, 'all to be confirmed', alive=[self.capture])
        self.assertEqual(self.names(), self.rows())


own_servers()
main()
