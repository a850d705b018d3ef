"""`lockstep dlq`: many letters, letters of both sides, and what a retry brings back."""
import json, os, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main


class Dlq(Scenario):
    def prepare(self):
        w = self.world
        w.configure(partitions=2)
        w.run('topics', 'create')
        self.send = w.producer()
        self.now = int(time.time() * 1e6)
        return w

    def letter(self, offset, value=b'garbage', headers=(), **more):
        """A dead letter as a sink writes it."""
        w = self.world
        own = {'reason': 'not Avro', 'code': 'avro', 'destination': 'warehouse', 'topic': w.topic(), 'partition': '1', 'offset': str(offset),
               'time': str(self.now + offset), 'key': str(offset), **more}
        while True:
            try:
                self.send.produce(f'{w.prefix}.dlq.warehouse', key=f'{w.topic()}-1-{offset}', value=value,
                                  headers=[*headers, *((f'lockstep.{k}', v) for k, v in own.items())])
                break
            except BufferError:
                self.send.poll(0.1)
        self.send.poll(0)

    def captured(self, event_id, value, time=0):
        w = self.world
        self.send.produce(f'{w.prefix}.dlq.crm', key=f'crm-{event_id}', value=value, headers=[
            ('lockstep.reason', 'larger than max_event_bytes'), ('lockstep.code', 'size'), ('lockstep.source', 'crm'), ('lockstep.entity', 'contact'),
            ('lockstep.key', '7'), ('lockstep.event_id', event_id), ('lockstep.time', str(self.now + time)), ('lockstep.side', 'capture')])

    def test_a_hundred_thousand_letters_are_soon_listed(self):
        w, count = self.prepare(), 100_000
        for i in range(count):
            self.letter(i)
        self.send.flush(60)
        newest = w.json('dlq', 'list', '--limit', '5', timeout=120)
        self.assertEqual([l['offset'] for l in newest], list(range(count - 5, count)))
        ids = [f'{w.topic()}-1-{i}' for i in range(0, count, count // 500)]
        w.run('dlq', 'retry', *ids, timeout=120)
        self.assertEqual(w.published(), len(ids))
        w.run('dlq', 'drop', '--all', '--reason', 'a test', timeout=120)
        self.assertEqual(w.json('dlq', 'list'), [])

    def test_the_table_is_aligned_and_the_newest_is_last(self):
        w = self.prepare()
        self.letter(5, key='short', code='x')
        self.letter(12345, key='a much longer key', code='a_longer_code')
        self.captured('1/2:3', b'{"event_id": "1/2:3"}', time=100)
        self.send.flush(20)
        lines = w.run('dlq', 'list').stdout.splitlines()
        self.assertEqual(lines[0].split(), ['time', 'owner', 'id', 'key', 'code', 'reason'])
        self.assertEqual(len(lines), 4)
        at = lines[0].index('reason')
        self.assertEqual([line[at:].strip() for line in lines[1:]], ['not Avro', 'larger than max_event_bytes', 'not Avro'])
        self.assertIn('-12345', lines[-1])

    def test_letters_of_the_source_are_shown_as_they_are_and_never_sent(self):
        w = self.prepare()
        self.captured('a', b'{"event_id": "a", "after": {"id": 7}}')
        self.captured('b', b'', time=1)
        self.letter(4)
        self.send.flush(20)
        done = w.run('dlq', 'show', 'crm-a').stdout
        whole = json.loads(done)
        self.assertEqual((whole['side'], whole['topic'], whole['offset'], whole['can_retry']), ('capture', None, None, False))
        self.assertEqual((whole['source'], whole['entity'], whole['event_id']), ('crm', 'contact', 'a'))
        self.assertEqual(whole['event'], {'event_id': 'a', 'after': {'id': 7}})
        self.assertIsNone(json.loads(w.run('dlq', 'show', 'crm-b').stdout)['event'])
        refused = w.run('dlq', 'retry', 'crm-a', ok=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn('never was in a topic', refused.stderr)
        self.assertEqual(len(w.json('dlq', 'list')), 3)
        w.run('dlq', 'retry', '--all', ok=False)
        self.assertEqual([l['id'] for l in w.json('dlq', 'list')], ['crm-a', 'crm-b'])
        self.assertEqual(w.published(), 1)
        w.run('dlq', 'drop', 'crm-a', 'crm-b', '--reason', 'mended')
        self.assertEqual(w.json('dlq', 'list'), [])

    def test_a_retry_sends_the_original_bytes_key_and_headers(self):
        w = self.prepare()
        key, value = b'k\xff\x00y', bytes(range(256))
        self.letter(1, value=value, headers=[('trace', b'\x00\xfe'), ('trace', b'twice')], key=key)
        self.send.flush(20)
        shown = w.json('dlq', 'list')[0]
        self.assertEqual(shown['bytes'], 256)
        w.run('dlq', 'retry', '--all', '--dry-run')
        self.assertEqual(w.published(), 0)
        w.run('dlq', 'retry', '--all')
        [message] = w.read(w.topic())
        self.assertEqual((message.key(), message.value(), message.partition()), (key, value, 1))
        self.assertEqual(message.headers(), [('trace', b'\x00\xfe'), ('trace', b'twice'), ('lockstep.retries', b'1')])
        self.assertEqual(w.json('dlq', 'list'), [])


main()
