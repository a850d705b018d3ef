"""Foreign keys between entities and unique values that change hands: events arrive per entity and partition, so a child
may come before its parent and a value before it is free. Both ends must be equal, without one dead letter.
"""
import os, random, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
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


main()
