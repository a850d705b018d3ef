"""The forms of the log that have cost others data: many events with one place, a death inside a transaction, a key that
changes last, transactions that are prepared, span others, or carry messages; and slots that must move while idle."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, wait_for

import signal

import psycopg


class LogForms(Scenario):
    def prepare(self, partitions=6, sink=False):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text, notes text)')
        w.source.sql('alter table contacts alter notes set storage external')
        w.configure(partitions=partitions)
        w.settings['sources'][0].update({'wal_status_interval': '200ms', 'heartbeat_interval': '500ms'})
        w.write(w.config_file, w.settings)
        if sink:
            w.start('sink', wait=True)
        self.capture = w.start('capture', wait=True)
        return w

    def dies(self, at):
        """Capture with that failpoint, until it has fired; returns the events that are in the topic then."""
        w = self.world
        process = w.start('capture', name=f'capture-{len(w.processes)}', env={'LOCKSTEP_FAILPOINT': at})
        wait_for(process.ended, 120, f'{at} to fire')
        self.assertEqual(process.popen.returncode, -signal.SIGKILL, process.tail())
        self.free()
        return w.events()

    def free(self):
        w = self.world
        wait_for(lambda: not w.source.one('select bool_or(active) from pg_replication_slots where database = current_database()'), 60, 'the slot to be free')

    def again(self):
        """Capture runs until all is confirmed; returns the events of the topic, in the order of the log where there is one partition."""
        w = self.world
        self.capture = w.start('capture', name=f'capture-{len(w.processes)}', wait=True)
        return self.all()

    def all(self):
        w = self.world
        wait_for(w.captured(), 120, 'capture to confirm all', alive=[self.capture])
        return w.events()

    def stop(self):
        self.assertEqual(self.capture.stop(), 0)
        self.free()

    def once(self, events, changes):
        """One identity for each change: deliveries of one event are the same in all, and there are as many events as changes."""
        seen = {}
        for e in events:
            e = {k: v for k, v in e.items() if k not in ('_offset', '_partition')}
            self.assertEqual(seen.setdefault(e['event_id'], e), e, 'two deliveries of one event')
        self.assertEqual(len(seen), changes, 'events, repeats aside')
        self.assertEqual(len({e['version'] for e in seen.values()}), changes, 'versions')
        return list(seen.values())

    # ---- dying ----

    def test_many_events_with_one_place_in_the_log_all_arrive_whenever_capture_dies(self):
        w = self.prepare()
        self.stop()
        with w.source.conn.cursor().copy('copy contacts (id, name) from stdin') as copy:
            for i in range(3000):
                copy.write_row((i, f'copied {i}'))
        w.source.sql("insert into contacts select i, 'inserted ' || i from generate_series(3000, 4999) i")
        first = self.dies('capture.delivered:kill:700')
        self.dies('capture.sent:kill:2')
        self.dies('capture.delivered:kill:2900')
        self.assertGreaterEqual(len(first), 700)
        events = self.once(self.again(), 5000)
        self.assertEqual({e['entity_id']: e['after']['name'] for e in events}, {str(i): n for i, n in w.source.sql('select id, name from contacts')})

    def test_a_death_inside_a_large_transaction_leaves_nothing_out_and_gives_the_same_ids_and_versions(self):
        w = self.prepare(sink=True)
        w.audit('contacts')
        w.source.sql("insert into contacts select i, '0' from generate_series(1, 1000) i")
        w.settle()
        self.stop()
        w.source.sql("update contacts set name = 'before'")
        with w.source.conn.transaction():
            for round in range(1, 7):
                w.source.sql("update contacts set name = %s", str(round))
            w.source.sql('delete from contacts where id % 2 = 0')
            w.source.sql("insert into contacts select i, 'again' from generate_series(2, 1000, 4) i")
        w.source.sql("update contacts set name = 'after' where id = 1")
        changes = 1000 + 1000 + 6000 + 500 + 250 + 1
        last = {}
        for hit in (1, 1500, 4000, 6000):
            for e in self.dies(f'capture.delivered:kill:{hit}'):
                self.assertEqual(last.setdefault(e['event_id'], e['version']), e['version'])
        self.once(self.again(), changes)
        w.settle()
        self.assertIsNone(w.same('contacts'))
        self.assertEqual(w.destination.sql("select count(*) from audit where old is not distinct from new"), [(0,)])

    def test_a_key_that_changes_last_in_a_transaction_is_a_delete_and_an_insert_in_that_order(self):
        w = self.prepare(partitions=1)
        large = 'x' * 5000  # out of line, and not in the log of the update
        w.source.sql('insert into contacts values (1, %s, %s), (2, %s, %s)', 'a', large, 'b', large)
        self.all()
        self.stop()
        for n in (1, 2):
            with w.source.conn.transaction():
                w.source.sql("update contacts set name = 'new' where id = %s", n)
                w.source.sql('update contacts set id = id + 1000 where id = %s', n)
        self.dies('capture.delivered:kill:2')
        events = self.once(self.again(), 2 + 2 * 3)
        seen = [(e['change_type'], e['entity_id']) for e in sorted(events, key=lambda e: e['version'])]
        self.assertEqual(seen[2:], [('UPDATE', '1'), ('DELETE', '1'), ('INSERT', '1001'), ('UPDATE', '2'), ('DELETE', '2'), ('INSERT', '1002')])
        self.assertEqual([(e['after']['name'], e['after']['notes']) for e in events if e['entity_id'] in ('1001', '1002')], [('new', large)] * 2)
        # the order of the topic, whose repeats all stand before what follows them
        order = [e['event_id'] for e in w.events()]
        latest = {id: n for n, id in enumerate(order)}
        self.assertEqual(sorted(latest, key=latest.get), [e['event_id'] for e in sorted(events, key=lambda e: e['version'])])

    # ---- transactions of other kinds ----

    def test_a_transaction_that_was_open_while_others_were_confirmed_arrives_after_a_restart(self):
        w = self.prepare()
        with psycopg.connect(w.source.url) as open_one, psycopg.connect(w.source.url) as open_two:
            open_one.execute("insert into contacts values (1, 'long')")
            for i in range(2, 12):
                w.source.sql('insert into contacts values (%s, %s)', i, 'short')
            open_two.execute("insert into contacts values (12, 'longer')")
            self.all()  # confirmed beyond where both began
            self.stop()
            open_one.commit()
            self.again()
            self.stop()
            open_two.commit()
        events = self.once(self.again(), 12)
        self.assertEqual({e['entity_id'] for e in events}, {str(i) for i in range(1, 13)})

    def test_prepared_transactions_arrive_when_they_are_committed_and_never_when_not(self):
        w = self.prepare()
        if w.source.one('show max_prepared_transactions') == '0':
            self.skipTest('the server was started without max_prepared_transactions')
        name = w.source.name
        for n, what in enumerate(('kept', 'dropped')):
            w.source.sql(f"begin; insert into contacts values ({n}, '{what}'); prepare transaction '{name}-{what}'")
        w.source.sql("insert into contacts values (2, 'between')")
        self.assertEqual({e['entity_id'] for e in self.all()}, {'2'})
        self.stop()
        w.source.sql(f"commit prepared '{name}-kept'")
        w.source.sql(f"rollback prepared '{name}-dropped'")
        self.assertEqual({e['entity_id'] for e in self.once(self.again(), 2)}, {'0', '2'})

    def test_messages_truncates_and_changes_of_identity_between_changes_lose_none_of_them(self):
        w = self.prepare(partitions=1)
        w.source.sql('create table notes (id int primary key, contact bigint references contacts (id))')
        w.source.sql("""begin; select pg_logical_emit_message(true, 'other', 'first in its transaction'); insert into contacts values (1, 'a', 'n');
            select pg_logical_emit_message(false, 'other', 'at once'); insert into contacts values (2, 'b', 'n'); commit""")
        w.source.sql("alter table contacts replica identity full; update contacts set name = 'full' where id = 1; delete from contacts where id = 2")
        w.source.sql('create unique index by_key on contacts (id) include (name)')
        w.source.sql('create unique index by_id on contacts (id)')
        w.source.sql("alter table contacts replica identity using index by_id; update contacts set name = 'index' where id = 1")
        w.source.sql("begin; update contacts set name = 'x' where id = 1; alter table contacts replica identity default; update contacts set name = 'default' where id = 1; commit")
        w.source.sql("begin; insert into contacts values (3, 'c'); truncate contacts cascade; insert into contacts values (4, 'd'); commit")
        w.source.sql("insert into contacts values (5, 'e')")
        seen = [(e['change_type'], e['entity_id'], (e['before'] or {}).get('name'), (e['after'] or {}).get('name')) for e in self.once(self.all(), 10)]
        self.assertEqual([s[:2] + s[3:] for s in seen], [
            ('INSERT', '1', 'a'), ('INSERT', '2', 'b'), ('UPDATE', '1', 'full'), ('DELETE', '2', None), ('UPDATE', '1', 'index'), ('UPDATE', '1', 'x'),
            ('UPDATE', '1', 'default'), ('INSERT', '3', 'c'), ('INSERT', '4', 'd'), ('INSERT', '5', 'e')])
        self.assertEqual([s[2] for s in seen[2:4]], ['a', 'b'], 'with the full identity, what was there before')
        self.assertFalse(self.capture.ended())

    def test_columns_added_and_dropped_inside_a_transaction_are_in_its_events_from_there_on(self):
        w = self.prepare(partitions=1)
        w.source.sql("""begin; insert into contacts values (1, 'a', 'n'); alter table contacts add column age int default 7; insert into contacts values (2, 'b', 'n', 8);
            alter table contacts drop column notes; insert into contacts values (3, 'c', 9); update contacts set name = 'z' where id = 1; commit""")
        w.source.sql('alter table contacts drop column age')
        w.source.sql("insert into contacts values (4, 'd')")
        self.assertEqual([e['after'] for e in self.once(self.all(), 5)], [
            {'id': 1, 'name': 'a', 'notes': 'n'}, {'id': 2, 'name': 'b', 'notes': 'n', 'age': 8}, {'id': 3, 'name': 'c', 'age': 9}, {'id': 1, 'name': 'z', 'age': 7},
            {'id': 4, 'name': 'd'}])

    # ---- idle ----

    def test_a_slot_of_idle_tables_holds_neither_log_nor_old_rows_while_others_write_much(self):
        w = self.prepare()
        w.source.sql("insert into contacts values (1, 'a')")
        self.all()
        published = w.published()
        w.destination.sql("create table elsewhere as select g, repeat('x', 200) t from generate_series(1, 20000) g")  # another database
        w.source.sql("create table other as select g, repeat('x', 200) t from generate_series(1, 20000) g")  # another table
        written, young = w.source.sql('select pg_current_wal_lsn(), (pg_current_xact_id()::text::bigint % (1::bigint << 32))')[0]

        def moved():
            w.maintenance.sql('checkpoint')  # the server notes which transactions run: from there a slot can begin
            return w.source.one("""select bool_and(restart_lsn > %s::pg_lsn and confirmed_flush_lsn > %s::pg_lsn and catalog_xmin::text::bigint >= %s)
                from pg_replication_slots where database = current_database()""", written, written, young)
        wait_for(moved, 120, 'the slot to let go of the log and of old rows', every=0.5, alive=[self.capture])
        self.assertEqual(w.published(), published)


main()
