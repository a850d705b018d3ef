"""Two databases, each a source and a destination of the same entity: edits go both ways, end equal, and do not go round."""
import json, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, wait_for


class TwoWay(Scenario):
    def prepare(self, rows=0):
        w = self.world
        self.sides = {'a': w.source, 'b': w.destination}
        for db in self.sides.values():
            db.sql('create table contacts (id bigint primary key, name text, rev bigint); alter table contacts replica identity full')
        tables = [{'table': 'public.contacts', 'entity': 'contact'}]
        systems = [{'name': name, 'type': 'postgres', 'url': db.url, 'tables': tables} for name, db in self.sides.items()]
        w.configure(partitions=3, sources=[{**s, 'heartbeat_interval': '200ms', 'wal_status_interval': '200ms'} for s in systems], destinations=systems)
        return w

    def ready(self, w):
        """Both slots are being read with the ledger in the publication, both sinks have their partitions."""
        self.capture = w.start('capture', wait=True)
        self.start_sinks(w)
        for name, db in self.sides.items():
            wait_for(lambda d=db: d.one("""select count(*) from pg_publication_tables t join pg_replication_slots s on s.slot_name = t.pubname
                and s.active where s.database = current_database() and t.tablename = 'sync_offsets'"""), 60, f'{name}: sync_offsets to be read', alive=w.processes)

    def start_sinks(self, w):
        self.sinks = w.start('sink', wait=True)

    def arrived(self, w):
        """Every edit is in the topic, and the topic in both databases."""
        for db in self.sides.values():
            now = db.one('select pg_current_wal_lsn()')
            wait_for(lambda d=db, n=now: d.one('select bool_and(confirmed_flush_lsn >= %s::pg_lsn) from pg_replication_slots where database = current_database()', n),
                     60, 'capture to confirm all that was written', alive=[self.capture])
        for name in self.sides:
            wait_for(lambda n=name: self.caught_up(w, n), 60, f'sink {name} to reach the end', alive=[self.sinks])

    def caught_up(self, w, name):
        db, topic = self.sides[name], w.topic()
        marks = dict(db.sql('select partition, next_offset from identity.sync_offsets where destination = %s and topic = %s', name, topic))
        return all(end == 0 or marks.get(p) == end for p, end in w.ends(topic).items())

    def conflicts(self, w):
        return [json.loads(m.value()) for m in w.read(f'{w.prefix}.conflicts')]

    def rows(self, name):
        return self.sides[name].sql('select id, name, rev from contacts order by id')

    def test_edits_one_after_another_are_no_conflict_and_do_not_echo(self):
        w = self.prepare()
        self.ready(w)
        a, b = self.sides['a'], self.sides['b']
        a.sql("insert into contacts select i, 'a ' || i, 1 from generate_series(1, 50) i")
        b.sql("insert into contacts select i, 'b ' || i, 1 from generate_series(101, 150) i")
        self.arrived(w)
        self.assertEqual(len(self.rows('a')), 100)
        self.assertEqual(self.rows('a'), self.rows('b'))
        edits = 100
        for round_ in range(3):
            for db, name in ((a, 'a'), (b, 'b')):
                db.sql("update contacts set name = %s, rev = rev + 1 where id in (1, 2, 3, 101)", f'{name} {round_}')
                self.arrived(w)
                edits += 4
                self.assertEqual(self.rows('a'), self.rows('b'))
        b.sql('delete from contacts where id in (1, 101)')
        self.arrived(w)
        edits += 2
        self.assertEqual(self.rows('a'), self.rows('b'))
        self.assertEqual(self.sides['a'].one('select rev from contacts where id = 2'), 7)
        # every edit is one event, whoever applied it
        self.assertEqual(w.published(), edits)
        self.assertEqual(self.conflicts(w), [])
        events = sorted(w.events(), key=lambda e: (e['_partition'], e['_offset']))
        for e in (e for e in events if e['entity_id'] == '2' and e['change_type'] == 'UPDATE'):
            self.assertIsNotNone(e['base_offset'])
            self.assertLessEqual(e['base_offset'], e['_offset'])
            self.assertLess(e['base_version'], e['version'])

    def test_a_restart_keeps_what_was_seen(self):
        w = self.prepare()
        self.ready(w)
        self.sides['a'].sql("insert into contacts values (1, 'a', 1)")
        self.arrived(w)
        self.assertEqual(self.capture.stop(), 0)
        self.sides['b'].sql("update contacts set name = 'b', rev = 2 where id = 1")
        self.capture = w.start('capture', wait=True)
        self.arrived(w)
        self.assertEqual(self.rows('a'), [(1, 'b', 2)])
        self.assertEqual(self.rows('b'), [(1, 'b', 2)])
        self.assertEqual(self.conflicts(w), [])

    def test_concurrent_edits_of_one_row_end_equal_with_one_conflict_at_each_destination(self):
        w = self.prepare()
        self.ready(w)
        self.sides['a'].sql("insert into contacts values (1, 'both know it', 1), (2, 'nobody edits it', 1)")
        self.arrived(w)
        self.assertEqual(self.sinks.stop(), 0)
        self.sides['a'].sql("update contacts set name = 'by a' where id = 1")
        self.sides['b'].sql("update contacts set name = 'by b' where id = 1")
        wait_for(lambda: w.published() == 4, 30, 'both edits to be published', alive=[self.capture])
        self.start_sinks(w)
        self.arrived(w)
        self.assertEqual(self.rows('a'), self.rows('b'))
        newest = max((e for e in w.events() if e['entity_id'] == '1'), key=lambda e: e['version'])
        self.assertEqual(self.rows('a'), [(1, newest['after']['name'], 1), (2, 'nobody edits it', 1)])
        self.assertEqual(newest['after']['name'], 'by b')  # the later commit
        wait_for(lambda: len(self.conflicts(w)) >= 2, 30, 'the conflicts to be reported')
        conflicts = self.conflicts(w)
        self.assertEqual(sorted(c['destination'] for c in conflicts), ['a', 'b'], conflicts)
        self.assertEqual({c['entity_id'] for c in conflicts}, {'1'})
        # settled: the next edit has seen the winner
        self.sides['a'].sql("update contacts set name = 'a again' where id = 1")
        self.arrived(w)
        self.assertEqual(self.rows('b')[0], (1, 'a again', 1))
        self.assertEqual(len(self.conflicts(w)), 2)
        self.assertEqual(w.published(), 5)


main()
