"""Foreign keys between entities and unique values that change hands: events arrive per entity and partition, so a child
may come before its parent and a value before it is free. Both ends must be equal, without one dead letter.
"""
import contextlib, json, os, random, sys, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import psycopg
from lockstep_test import SEED, Scenario, main, scaled, wait_for

TABLES = """
    create table companies (id bigint primary key, name text not null, code text unique{deferrable}, rev bigint not null);
    create table contacts (id bigint primary key, company_id bigint references companies, email text not null unique{deferrable},
        seat int unique{deferrable}, manager bigint references contacts, rev bigint not null)"""


class Constraints(Scenario):
    def open(self, **destination):
        w = self.world
        w.source.sql(TABLES.format(deferrable=' deferrable initially deferred'))
        w.destination.sql(TABLES.format(deferrable=''))
        w.configure(tables=('companies', 'contacts'))
        w.settings['entities'] = [{'name': 'company', 'key': ['id']}, {'name': 'contact', 'key': ['id']}]
        for side in ('sources', 'destinations'):
            for entry in w.settings[side]:
                entry['tables'] = [{'table': 'public.companies', 'entity': 'company'}, {'table': 'public.contacts', 'entity': 'contact'}]
        w.settings['destinations'][0].update(destination)
        w.write(w.config_file, w.settings)
        return w

    def equal(self, seconds=90):
        w = self.world
        alive = [p for p in w.processes if not p.ended()]
        wait_for(w.captured(), seconds, 'capture', alive=alive)
        wait_for(lambda: w.same('companies') is None and w.same('contacts') is None, seconds, 'equal tables', every=0.3, alive=alive)
        wait_for(lambda: w.destination.one('select count(*) from identity.sync_waiting') == 0, seconds, 'nothing to wait any more', alive=alive)
        self.assertEqual([m.headers() for m in w.dead()], [])

    def rows(self, count):
        w = self.world
        w.source.sql(f"""insert into companies select i, 'company ' || i, 'code ' || i, 1 from generate_series(1, {count}) i;
            insert into contacts select i, i, 'mail ' || i, i, null, 1 from generate_series(1, {count}) i""")

    def test_values_swapped_in_one_partition_and_across_them(self):
        w = self.open()
        w.start('capture')
        w.start('sink', name='one')
        w.start('sink', name='two')
        self.rows(60)
        self.equal()
        for n in range(20):
            a, b, c = random.Random(SEED + n).sample(range(1, 61), 3)
            w.source.sql(f"""with o as (select id, email, seat from contacts where id in ({a}, {b}))
                update contacts c set email = o.email, seat = o.seat, rev = rev + 1 from o
                where c.id in ({a}, {b}) and o.id in ({a}, {b}) and o.id <> c.id""")
            w.source.sql(f"""update companies set code = (array['code x', 'code y', 'code z'])[1 + (id + {n}) % 3], rev = rev + 1 where id in (1, 2, 3)""")
        self.equal()

    def test_children_first_and_parents_deleted_first(self):
        w = self.open()
        capture = w.start('capture')
        self.rows(200)
        w.source.sql('update contacts set manager = case when id <= 100 then nullif(id - 1, 0) else 301 - id end, rev = rev + 1')
        wait_for(w.captured(), 60, 'capture', alive=[capture])
        w.start('sink', name='one')
        w.start('sink', name='two')
        self.equal()
        w.source.sql("""delete from contacts where id <= 0; update contacts set manager = null, rev = rev + 1;
            delete from contacts where id between 50 and 150; delete from companies where id between 50 and 150""")
        w.source.sql('update contacts set company_id = 200, rev = rev + 1; delete from companies where id < 200')
        self.equal()

    def say(self, entity, event_id, **row):
        self.world.run('publish', '--entity', entity, '--id', str(row['id']), '--source', 'other', '--type', 'INSERT', '--event-id', event_id, '--data', json.dumps(row))

    def test_what_never_fits_is_a_dead_letter_after_its_patience_and_others_go_on(self):
        w = self.open(patience='3s')
        capture = w.start('capture')
        sink = w.start('sink')
        self.rows(20)
        self.equal()
        self.say('contact', 'orphan', id=1001, company_id=1001, email='orphan', rev=1)
        self.say('contact', 'double', id=1002, company_id=1, email='mail 2', rev=1)
        self.say('company', 'taken', id=3, name='company 3', code='code 4', rev=2)
        wait_for(lambda: w.destination.one('select count(*) from identity.sync_waiting') == 3, 60, 'three events to wait', alive=[sink])
        w.source.sql("update contacts set rev = rev + 1; update companies set rev = rev + 1 where id <> 3")
        wait_for(lambda: w.destination.one('select count(*) from contacts where rev = 2') == 20, 60, 'the others to go on', alive=[sink, capture])
        wait_for(lambda: len(w.dead()) == 3, 60, 'three dead letters', alive=[sink])
        reasons = {l['code'] for l in w.json('dlq', 'list')}
        self.assertEqual(reasons, {'23503', '23505'})
        self.assertEqual(w.destination.one('select count(*) from identity.sync_waiting'), 0)
        self.assertEqual(w.destination.sql('select name, code, rev from companies where id = 3'), [('company 3', 'code 3', 1)])
        self.assertIsNone(w.same('contacts'))
        w.destination.sql("update companies set code = null where id = 4; delete from contacts where id = 2")
        self.say('company', 'parent', id=1001, name='late', rev=1)
        wait_for(lambda: w.destination.one('select count(*) from companies where id = 1001') == 1, 60, 'the parent', alive=[sink])
        w.run('dlq', 'retry', '--all')
        wait_for(lambda: w.destination.one("select count(*) from contacts where id in (1001, 1002)") == 2, 60, 'what came back', alive=[sink])
        wait_for(lambda: w.destination.one("select code from companies where id = 3") == 'code 4', 60, 'what came back', alive=[sink])
        self.assertEqual(w.dead(), [])

    def test_what_waits_is_counted(self):
        w = self.open(patience='10m')
        w.start('capture')
        sink = w.start('sink', wait=True)
        waiting = lambda: w.json('status', config=sink.config)['destinations'][0]['waiting']
        self.assertEqual(waiting(), 0)
        for n in range(2):
            self.say('contact', f'orphan {n}', id=1001 + n, company_id=1001, email=f'orphan {n}', rev=1)
        wait_for(lambda: waiting() == 2, 120, 'two events that wait to be counted', alive=[sink])
        self.assertIn('\nlockstep_waiting{lane="sink/warehouse/0"} 2\n', w.get(sink, '/metrics')[1])
        self.assertIn('waiting for other rows 2, partitions held 0', w.run('status', config=sink.config).stdout)
        self.say('company', 'parent', id=1001, name='late', rev=1)
        wait_for(lambda: waiting() == 0, 120, 'nothing to wait any more', alive=[sink])
        self.assertEqual(w.destination.one('select count(*) from contacts'), 2)

    def test_sinks_killed_while_events_wait(self):
        w = self.open()
        w.audit('contacts')
        w.start('capture')
        sinks = [w.start('sink', name=n, instance=n) for n in ('one', 'two')]
        self.rows(80)
        draw, stop = random.Random(SEED), threading.Event()

        def work():
            while not stop.is_set():
                a, b, c = draw.sample(range(1, 81), 3)
                with contextlib.suppress(psycopg.errors.IntegrityError):  # rolled back, as such things are
                    w.source.sql(f"""update contacts set email = 'tmp', rev = rev + 1 where id = {a}; update contacts set email = 'mail {a}', rev = rev + 1 where id = {b};
                    update contacts set email = 'mail {b}', rev = rev + 1 where id = {a}; update contacts set email = 'mail x' || id, manager = {c}, rev = rev + 1 where id in ({a}, {b});
                    delete from contacts where id = {c} and not exists (select from contacts where manager = {c});
                    insert into companies values ({c} + 1000 + (random() * 1e6)::int, 'new', null, 1) on conflict (id) do nothing;
                    insert into contacts select {c}, max(id), 'mail again {c}', null, null, 1000000 + {draw.randrange(1, 1 << 30)} from companies on conflict (id) do nothing""")
                time.sleep(0.02)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            for n in range(scaled(4)):
                time.sleep(1.5)
                sinks[n % 2].kill()
                sinks[n % 2] = w.start('sink', name=('one', 'two')[n % 2], instance=('one', 'two')[n % 2])
        finally:
            stop.set()
            worker.join()
        self.equal()


main()
