"""The events topic is deleted and made again: its offsets begin anew, and the marks of the destination mean nothing in it.

A sink must say so and stop. Whatever arrived in the new topic must never be taken for what the old one had at that place.
"""
import json, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, wait_for

from confluent_kafka.admin import NewTopic


class Recreated(Scenario):
    def publish(self, numbers, name):
        lines = (json.dumps({'entity': 'contact', 'id': str(i), 'source': 'script', 'type': 'INSERT', 'event_id': f'{name} {i}', 'data': {'id': i, 'name': f'{name} {i}'}})
                 for i in numbers)
        self.world.run('publish', input='\n'.join(lines) + '\n')

    def applied(self):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text)')
        w.configure(partitions=1)
        w.run('topics', 'create')
        sink = w.start('sink', wait=True)
        self.publish(range(100), 'old')
        wait_for(w.caught_up, 60, 'the sink to reach the end', alive=[sink])
        return sink

    def make_again(self):
        w = self.world
        for future in w.admin.delete_topics([w.topic()]).values():
            future.result()
        wait_for(lambda: w.topic() not in w.admin.list_topics(timeout=10).topics, 60, 'the topic to be gone')

        def made():
            try:
                for future in w.admin.create_topics([NewTopic(w.topic(), 1, 1)]).values():
                    future.result()
            except Exception:
                return False
            return True
        wait_for(made, 60, 'the topic to be there again')

    def says(self, sink, *parts):
        wait_for(sink.ended, 90, 'the sink to stop')
        self.assertEqual(sink.popen.returncode, 1, sink.tail())
        for part in (self.world.topic(), 'partition 0', 'class=fatal', *parts):
            self.assertIn(part, sink.text())
        self.assertEqual(self.world.destination.one('select count(*) from contacts'), 100)

    def test_while_the_sink_is_away_with_less_in_it_than_was_applied(self):
        sink = self.applied()
        self.assertEqual(sink.stop(), 0)
        self.make_again()
        self.publish(range(200, 220), 'new')
        self.says(self.world.start('sink'), 'offset 100', 'does not hold this offset')

    def test_while_the_sink_is_away_with_more_in_it_than_was_applied(self):
        sink = self.applied()
        self.assertEqual(sink.stop(), 0)
        self.make_again()
        self.publish(range(200, 350), 'new')
        self.says(self.world.start('sink'), 'offset 99', 'made again')

    def test_while_the_sink_runs(self):
        sink = self.applied()
        self.make_again()
        self.publish(range(200, 220), 'new')
        self.says(sink, 'does not hold this offset')


main()
