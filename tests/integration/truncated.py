"""Events that were removed before the sink read them: it stops and says so, instead of going on behind the gap."""
import json, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, wait_for

from confluent_kafka import TopicPartition


class Truncated(Scenario):
    def publish(self, w, numbers):
        lines = (json.dumps({'entity': 'contact', 'id': str(i), 'source': 'script', 'type': 'INSERT', 'event_id': f'e{i}', 'data': {'id': i, 'name': f'name {i}'}}) for i in numbers)
        w.run('publish', input='\n'.join(lines) + '\n')

    def test_a_sink_below_the_first_event_that_is_left_stops_and_says_which(self):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text)')
        w.configure(partitions=1)
        w.run('topics', 'create')
        sink = w.start('sink', wait=True)
        self.publish(w, range(100))
        wait_for(w.caught_up, 30, 'the sink to reach the end', alive=[sink])
        self.assertEqual(sink.stop(), 0)
        self.publish(w, range(100, 200))
        for future in w.admin.delete_records([TopicPartition(w.topic(), 0, 150)]).values():
            future.result()

        sink = w.start('sink')
        wait_for(sink.ended, 30, 'the sink to stop')

        self.assertEqual(sink.popen.returncode, 1, sink.tail())
        self.assertEqual(w.destination.one('select count(*) from contacts'), 100)
        for part in (w.topic(), 'partition 0', 'offset 100', 'does not hold this offset', 'class=fatal'):
            self.assertIn(part, sink.text())


main()
