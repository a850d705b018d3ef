"""What no sink can apply becomes a dead letter with its reason; everything else goes on; retry brings back what was mended."""
import json, os, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, scaled, wait_for


class Garbage(Scenario):
    def receiving(self, extra=''):
        w = self.world
        w.source.sql('create table contacts (id bigint primary key, name text, score int)')
        w.destination.sql(f'create table contacts (id bigint primary key, name text, score int {extra})')
        w.configure()
        w.run('topics', 'create')
        w.start('sink', wait=True)
        return w

    def good(self, w, numbers, score=1):
        lines = (json.dumps({'entity': 'contact', 'id': str(i), 'source': 'script', 'type': 'INSERT', 'event_id': f'good-{i}',
                             'data': {'id': i, 'name': f'name {i}', 'score': score}}) for i in numbers)
        w.run('publish', input='\n'.join(lines) + '\n', timeout=120)

    def garbage(self, w, kind, i):
        noise = w.random.randbytes(w.random.randrange(0, 200))
        return [noise, b'', b'\xc3\x01' + noise, b'\xc3\x01' + bytes(8) + noise, b'\x00\x00\x00\x00\x07' + noise, b'{"id": %d}' % i,
                b'\xc3\x01' + self.known + noise, b'\xc3\x01' + self.known][kind % 8]

    def test_a_thousand_garbage_messages_among_ten_thousand_good_ones(self):
        w = self.receiving()
        total, bad = scaled(10000), scaled(1000)
        self.good(w, range(1, total // 2 + 1))
        self.known = bytes.fromhex(next(iter(w.schemas())))
        producer, sent = w.producer(), []
        for i in range(bad):
            value = self.garbage(w, i, i)
            sent.append(value)
            producer.produce(w.topic(), key=f'garbage {i}', value=value, headers={'trace': f'{i}'})
            producer.poll(0)
            if i == bad // 2:
                self.good(w, range(total // 2 + 1, total + 1))
        producer.flush(60)
        wait_for(lambda: w.caught_up(), 180, 'the sink to reach the end', alive=w.processes)
        self.assertEqual(w.destination.one('select count(*) from contacts'), total)
        letters = w.dead()
        self.assertEqual(len(letters), bad)
        # Original bytes and headers are kept; null bytes of a value included.
        self.assertEqual(sorted(m.value() or b'' for m in letters), sorted(sent))
        self.assertTrue(all(dict(m.headers()).get('trace') is not None for m in letters))
        listed = w.json('dlq', 'list', '--limit', '100000')
        self.assertEqual(len(listed if isinstance(listed, list) else next(v for v in listed.values() if isinstance(v, list))), bad)

    def test_retry_brings_back_those_whose_cause_was_mended(self):
        w = self.receiving(extra='constraint low check (score < 100)')
        self.good(w, range(1, 101))
        self.good(w, range(101, 151), score=500)
        self.good(w, range(151, 201))
        wait_for(lambda: w.caught_up(), 60, 'the sink to reach the end', alive=w.processes)
        self.assertEqual(w.destination.one('select count(*) from contacts'), 150)
        letters = w.dead()
        self.assertEqual(len(letters), 50)
        shown = w.run('dlq', 'list').stdout
        self.assertIn('low', shown, 'the reason names the constraint')
        w.destination.sql('alter table contacts drop constraint low')
        w.run('dlq', 'retry', '--all')
        wait_for(lambda: w.destination.one('select count(*) from contacts') == 200, 60, 'the mended ones to arrive', alive=w.processes)
        wait_for(lambda: not w.dead(), 30, 'the dead letters to go')

    def test_a_version_of_the_year_2099_is_dead_and_no_winner(self):
        w = self.receiving()
        self.good(w, [1])
        w.run('publish', '--entity', 'contact', '--id', '1', '--source', 'future', '--type', 'UPDATE', '--version', '4086000000000000', '--event-id', 'future',
              '--data', '{"id": 1, "name": "from 2099", "score": 2}', ok=False)
        w.run('publish', '--entity', 'contact', '--id', '1', '--source', 'script', '--type', 'UPDATE', '--event-id', 'now',
              '--data', '{"id": 1, "name": "of today", "score": 3}')
        wait_for(lambda: w.destination.one('select name from contacts where id = 1') == 'of today', 30, 'the event of today', alive=w.processes)
        if w.published() == 3:
            self.assertEqual(len(w.dead()), 1)

    def test_a_wrong_type_is_dead_and_its_neighbours_are_not(self):
        w = self.receiving()
        self.good(w, range(1, 11))
        w.destination.sql('alter table contacts alter column score type date using null')
        self.good(w, range(11, 21))
        w.destination.sql('alter table contacts alter column score type int using null')
        self.good(w, range(21, 31))
        wait_for(lambda: w.caught_up(), 60, 'the sink to reach the end', alive=w.processes)
        self.assertGreaterEqual(w.destination.one('select count(*) from contacts'), 20)

    def test_other_keys_go_on_while_one_is_poison(self):
        w = self.receiving(extra="constraint named check (name <> 'poison')")
        lines = []
        for i in range(1, 1001):
            name = 'poison' if i % 50 == 0 else f'name {i}'
            lines.append(json.dumps({'entity': 'contact', 'id': str(i), 'source': 's', 'type': 'INSERT', 'event_id': f'e{i}', 'data': {'id': i, 'name': name, 'score': 1}}))
        w.run('publish', input='\n'.join(lines) + '\n')
        wait_for(lambda: w.caught_up(), 60, 'the sink to reach the end', alive=w.processes)
        self.assertEqual(w.destination.one('select count(*) from contacts'), 980)
        self.assertEqual(len(w.dead()), 20)
        rows = w.destination.sql("select upper(status), count(*), bool_and(error_message is not null) from identity.sync_processed_events group by 1 order by 2")
        self.assertEqual(rows[0][1:], (20, True))


main()
