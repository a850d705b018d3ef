"""A primary dies and its standby takes over: PostgreSQL 17 carries the slot over, and capture goes on there by itself.

Two servers of its own, 17 whatever the rest of the run uses: the first version with failover slots."""
import os, re, socket, sys, threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import ROOT, SEED, Database, Scenario, main, wait_for
from pg_server import Server, place

import psycopg

class Silent(Scenario):
    def test_a_first_host_that_says_nothing_does_not_keep_from_the_second(self):
        w = self.world
        w.source.sql('create table contacts (id bigint primary key, name text)')
        with socket.create_server(('127.0.0.1', 0)) as silent:  # takes connections, and never answers
            host, port = w.source.conn.info.host, w.source.conn.info.port
            url = f'postgresql://postgres@127.0.0.1,{host}/{w.source.name}?port={silent.getsockname()[1]},{port}&target_session_attrs=read-write&connect_timeout=2'
            w.configure(sources=[{'name': 'crm', 'type': 'postgres', 'url': url, 'tables': [{'table': 'public.contacts', 'entity': 'contact'}]}])
            w.start('capture')
            wait_for(lambda: w.listening(), 120, 'capture at the second host', alive=w.processes)


class Failover(Scenario):
    def setUp(self):
        super().setUp()
        home = place(self)
        self.primary, self.standby = Server(home, 'one', 17), Server(home, 'two', 17)
        self.primary.init()
        self.standby.copy(self.primary)
        for server in (self.primary, self.standby):
            self.addCleanup(lambda s=server: s.kill() if s.running() else None)

    def servers(self, **primary):
        self.standby.set(primary_conninfo=f'host=127.0.0.1 port={self.primary.port} user=postgres dbname=postgres application_name=two', primary_slot_name='two', sync_replication_slots='on')
        open(f'{self.standby.data}/standby.signal', 'w').close()
        self.primary.set(**primary)
        self.primary.start()
        self.primary.sql("select pg_create_physical_replication_slot('two', true)")
        self.standby.start()
        wait_for(lambda: self.primary.sql("select 1 from pg_stat_replication where state = 'streaming'"), 60, 'the standby to follow')

    def captured(self):
        """Capture and sink over the pair of servers, and contacts to work on."""
        w = self.world
        w.source = Database(self.primary.url)
        with open(f'{ROOT}/tests/support/workload.sql') as f:
            w.source.sql(f.read())
        w.source.sql('alter table contacts replica identity full')
        w.destination.sql("""create table contacts (id bigint primary key, name text not null, email text, stage text, score numeric(12, 2), tags text[],
            detail jsonb, notes text, rev bigint, updated_at timestamptz)""")
        w.audit('contacts')
        url = f'postgresql://postgres@127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}/postgres?target_session_attrs=read-write&connect_timeout=5'
        w.configure(sources=[{'name': 'crm', 'type': 'postgres', 'url': url, 'slot_failover': True, 'wal_status_interval': '200ms', 'heartbeat_interval': '500ms',
                              'tables': [{'table': 'public.contacts', 'entity': 'contact'}]}])
        self.sink, self.capture = w.start('sink', wait=True), w.start('capture', wait=True)
        w.source.sql('call fill(300)')
        return w

    def slot_is_carried_over(self):
        """The slot stands at the standby so that it would outlive a promotion: the primary has to write for it to get there."""
        def stands():
            self.primary.sql('select pg_log_standby_snapshot()')
            return self.standby.sql('select 1 from pg_replication_slots where failover and synced and not temporary')
        wait_for(stands, 120, 'the slot to be carried over to the standby', every=0.3, alive=[self.capture])

    def take_over(self):
        w = self.world
        self.standby.run('pg_ctl', '-w', '-t', '60', 'promote')
        w.source.close()
        w.source = Database(self.standby.url)

    def once(self):
        """At the destination no contact went back or was written twice the same; every event took effect once."""
        w, last = self.world, {}
        for op, key, new in w.destination.sql("select op, key, (new ->> 'rev')::bigint from audit order by n"):
            if op != 'DELETE':
                self.assertGreater(new, last.get(key, 0), f'{op} of {key}')
                last[key] = new
        events = w.events()
        self.assertEqual(w.destination.one('select count(*) from identity.sync_processed_events'), len({e['event_id'] for e in events}))
        self.assertEqual(w.dead(), [])

    def test_capture_goes_on_at_the_standby_that_took_over_with_nothing_lost_and_nothing_twice(self):
        # A commit is acknowledged once the standby has it, and capture sees nothing that it does not have.
        self.servers(synchronous_standby_names='two', synchronized_standby_slots='two')
        w = self.captured()
        self.assertEqual(w.source.one('select bool_and(failover) from pg_replication_slots where plugin is not null'), True)
        self.slot_is_carried_over()

        stop, acknowledged = threading.Event(), []

        def work():
            """Rows one by one, until the primary dies: those whose commit was acknowledged must arrive."""
            try:
                with psycopg.connect(self.primary.url, autocommit=True) as c:
                    while not stop.is_set():
                        acknowledged.append(c.execute("insert into contacts (id, name) values (nextval('ids'), 'acknowledged') returning id").fetchone()[0])
            except psycopg.Error:
                pass
        worker = threading.Thread(target=work)
        worker.start()
        w.source.sql(f'call work(200, {SEED % 1000 / 1000}, 20)')
        self.primary.kill()
        stop.set()
        worker.join(60)
        self.take_over()
        w.source.sql('call work(200, 0.6, 20)')

        w.settle(seconds=180, alive=[self.capture, self.sink])
        self.assertIsNone(w.same('contacts'))
        print(f'{len(acknowledged)} commits acknowledged up to the death of the primary', flush=True)
        there = {row[0] for row in w.source.sql('select id from contacts')} | {int(e['entity_id']) for e in w.events()}
        self.assertEqual(set(acknowledged) - there, set())
        self.assertEqual(len({e['entity_id'] for e in w.events() if e['after'] and e['after']['name'] == 'acknowledged'} & {str(i) for i in acknowledged}), len(acknowledged))
        self.once()

    def test_a_standby_that_was_behind_is_not_taken_for_the_same_log(self):
        self.servers()
        w = self.captured()
        self.slot_is_carried_over()
        self.standby.run('pg_ctl', '-m', 'fast', '-w', 'stop')
        w.source.sql('call work(100, 0.5, 10)')
        w.settle(alive=[self.capture, self.sink])
        self.primary.kill()

        self.standby.start()
        self.take_over()
        # As much again, so that the new log reaches beyond the place that the old one had come to.
        w.source.sql('call work(400, 0.7, 10)')
        wait_for(self.capture.ended, 120, 'capture to stop')
        said = self.capture.text()
        self.assertEqual(self.capture.popen.returncode, 1, self.capture.tail())
        found = re.search(r'a standby took over that was behind: it went on from ([0-9A-F/]+), and timeline 1 was published up to ([0-9A-F/]+)', said)
        self.assertTrue(found, self.capture.tail())
        self.assertEqual(self.standby.sql('select %s::pg_lsn < %s::pg_lsn', *found.groups())[0][0], True)
        self.assertIn('lockstep snapshot crm', said)

        w.run('snapshot', 'crm')
        self.capture = w.start('capture', name='capture-mended', wait=True)
        wait_for(lambda: not self.missing(), 120, 'all rows of the new primary at the destination', every=0.5, alive=[self.capture, self.sink])

    def missing(self):
        """Rows of the source that the destination has otherwise or not; it may have more: what only the lost log had."""
        w = self.world
        columns = w.source.columns('contacts')
        return set(w.source.dump('contacts', columns, ('id',))) - set(w.destination.dump('contacts', columns, ('id',)))


main()
