"""The main job: mixed work in one database, the same rows in the other, and the three witnesses agree: topic, marks, processed events."""
import collections, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import ROOT, SEED, Scenario, main, scaled, wait_for

TARGET = """create table contacts (id bigint primary key, name text not null, email text, stage text, score numeric(12, 2), tags text[],
    detail jsonb, notes text, rev bigint, updated_at timestamptz)"""


class MainJob(Scenario):
    def prepare(self, full=True):
        w = self.world
        with open(f'{ROOT}/tests/support/workload.sql') as f:
            w.source.sql(f.read())
        if full:
            w.source.sql('alter table contacts replica identity full')
        w.destination.sql(TARGET)
        w.configure()
        return w

    def work(self, w):
        w.source.sql(f'call fill({scaled(10000)})')
        w.source.sql(f'call work({scaled(40000)}, {SEED % 1000 / 1000})')

    def agree(self, w, ledger=True):
        self.assertIsNone(w.same('contacts'))
        ends, marks = w.ends(w.topic()), w.marks()
        self.assertEqual({p: end for p, end in ends.items() if end}, {p: marks.get((w.topic(), p)) for p, end in ends.items() if end})
        self.assertEqual(w.dead(), [])
        self.assertEqual(w.dead(source='crm'), [])
        if ledger:
            events = w.events()
            self.assertEqual(len(events), sum(ends.values()))
            ids = collections.Counter(e['event_id'] for e in events)
            self.assertEqual([i for i, n in ids.items() if n > 1], [], 'an event was published twice')
            processed = {row[0] for row in w.destination.sql('select event_id from identity.sync_processed_events')}
            self.assertEqual(processed, set(ids))

    def test_mixed_changes_arrive_and_all_witnesses_agree(self):
        w = self.prepare()
        capture = w.start('capture', wait=True)
        sink = w.start('sink', wait=True)
        self.work(w)
        w.settle()
        self.agree(w)
        self.assertEqual(capture.stop(), 0)
        self.assertEqual(sink.stop(), 0)

    def test_one_process_and_the_default_replica_identity_do_the_same(self):
        w = self.prepare(full=False)
        run = w.start('run', '--skip-check', wait=True)
        self.work(w)
        w.settle()
        self.agree(w)
        self.assertEqual(run.stop(), 0)

    def test_the_sink_that_starts_later_reads_everything(self):
        w = self.prepare()
        w.start('capture', wait=True)
        self.work(w)
        wait_for(w.captured(), 120, 'capture to confirm')
        w.start('sink', wait=True)
        w.settle()
        self.agree(w)

    def test_the_short_ledger_keeps_the_tables_equal_too(self):
        w = self.prepare()
        w.settings['destinations'][0]['ledger'] = 'offsets'
        w.start('capture', wait=True)
        w.start('sink', wait=True)
        self.work(w)
        w.settle()
        self.agree(w, ledger=False)

    def test_events_say_what_the_contract_says(self):
        w = self.prepare()
        w.start('capture', wait=True)
        w.source.sql("insert into contacts (id, name, notes) values (1, 'Ada', repeat('0123456789', 1000))")
        w.source.sql("update contacts set name = 'Ada L.' where id = 1")
        w.source.sql('update contacts set id = 2 where id = 1')
        w.source.sql('delete from contacts where id = 2')
        wait_for(lambda: w.published() >= 5, 30, 'five events')
        events = sorted(w.events(), key=lambda e: e['version'])
        self.assertEqual([e['change_type'] for e in events], ['INSERT', 'UPDATE', 'DELETE', 'INSERT', 'DELETE'])
        self.assertEqual([e['entity_id'] for e in events], ['1', '1', '1', '2', '2'])
        self.assertTrue(all(e['_key'] == e['entity_id'] for e in events))
        self.assertEqual({e['source'] for e in events}, {'crm'})
        self.assertEqual({e['entity_type'] for e in events}, {'contact'})
        self.assertEqual(len({e['event_id'] for e in events}), 5)
        self.assertEqual(len({e['version'] for e in events}), 5)
        self.assertEqual(events[1]['before']['name'], 'Ada')
        self.assertEqual(events[1]['after']['name'], 'Ada L.')
        self.assertIsNone(events[2]['after'])


main()
