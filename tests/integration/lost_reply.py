"""The reply that never comes: of COMMIT, and of records given to Kafka. Whether it happened or not, each effect comes once.

A proxy that reads the messages of both protocols lets exactly one request through, or not even that, and cuts the connection.
"""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import lockstep_test
from lockstep_test import main, wait_for
from under_fault import UnderFault

import psycopg
from frames import FrameProxy


class LostReply(UnderFault):
    def before_postgres(self):
        proxy = FrameProxy('postgres', '{host}:{port}'.format(**psycopg.conninfo.conninfo_to_dict(lockstep_test.servers().pg)))
        self.addCleanup(proxy.close)
        return proxy

    def commits(self, ledger):
        proxy = self.before_postgres()
        w = self.open(through=proxy.address, ledger=ledger)
        w.source.sql('call fill(100)')
        sink, capture = self.sink(), w.start('capture')
        self.equal([sink, capture])
        retries = 0
        for round in range(6):
            happens = round % 2 == 0
            before = self.last_change()
            lost = proxy.swallow_commit(matching=b'sync_offsets SET', happens=happens)
            self.work(40)
            wait_for(lambda: lost.wait(0.1) or self.work(5), 60, 'a COMMIT to be lost', alive=[sink, capture])
            if happens:
                self.assertGreater(self.last_change(), before, 'it was committed all the same')
            self.equal([sink, capture])
            self.once()
        retries = sink.text().count('try again in')
        self.assertGreaterEqual(retries, 6, f'the sink saw its commits end without an answer\n{sink.tail()}')
        self.assertNotIn('restart in', sink.text(), 'the lane looks at its mark and goes on, it does not begin anew')

    def test_of_commit_leaves_each_effect_once_with_the_full_ledger(self):
        self.commits('full')

    def test_of_commit_leaves_each_effect_once_with_offsets_only(self):
        self.commits('offsets')

    def test_of_produce_leaves_no_two_contents_for_one_event(self):
        w = self.world
        proxy = FrameProxy('kafka', w.kafka)
        self.addCleanup(proxy.close)
        self.open(kafka=proxy.address)
        w.source.sql('call fill(100)')
        sink, capture = self.sink(), w.start('capture')
        self.equal([sink, capture])
        for round, topic in enumerate(('.contact', '.contact', '.versions.warehouse', '.versions.warehouse', '.positions', '.contact')):
            happens = round % 2 == 0
            lost = proxy.swallow_produce(matching=topic.encode(), happens=happens)
            wait_for(lambda: self.work(10) or lost.wait(0.5), 60, f'records for {topic} to be lost', alive=[sink, capture])
            if round == 5:
                capture.kill()  # and nobody is left who could ask again
                capture = w.start('capture')
            self.equal([sink, capture])
        self.once()
        seen = {}
        for e in w.events():
            content = (e['version'], e['entity_id'], str(e['after']))
            self.assertEqual(seen.setdefault(e['event_id'], content), content, f"event {e['event_id']} has two contents")


main()
