"""What `lockstep dlq` says and does: dead letters listed, shown, let go with a reason, sent again; nothing happens under --dry-run."""
import json, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, wait_for


class Letters(Scenario):
    def letters(self):
        """Ten good events, three that a constraint refuses, one that is no Avro, one without a value."""
        w = self.world
        w.source.sql('create table contacts (id bigint primary key, name text, score int)')
        w.destination.sql('create table contacts (id bigint primary key, name text, score int constraint low check (score < 100))')
        w.configure(partitions=3)
        w.run('topics', 'create')
        w.start('sink', wait=True)
        lines = [json.dumps({'entity': 'contact', 'id': str(i), 'source': 'script', 'type': 'INSERT', 'event_id': f'e-{i}',
                             'data': {'id': i, 'name': f'name {i}', 'score': 500 if i > 10 else 1}}) for i in range(1, 14)]
        w.run('publish', input='\n'.join(lines) + '\n')
        producer = w.producer()
        self.many = [(f'header {i}', b'%d' % i) for i in range(150)]
        self.noise = b'\x00\xff no event "at all"'
        producer.produce(w.topic(), key='noise', value=self.noise, headers=[('trace', b'one'), ('trace', b'two'), ('none', None), ('lockstep.retries', b'2')] + self.many)
        producer.produce(w.topic(), key='gone', value=None)
        producer.flush(30)
        wait_for(lambda: w.caught_up(), 60, 'the sink to reach the end', alive=w.processes)
        self.assertEqual(w.destination.one('select count(*) from contacts'), 10)
        return w

    def codes(self, *args):
        return sorted(letter['code'] for letter in self.world.json('dlq', 'list', *args))

    def one(self, code):
        return next(letter for letter in self.world.json('dlq', 'list') if letter['code'] == code)

    def test_list_tells_all_and_takes_its_filters(self):
        w = self.letters()
        letters = w.json('dlq', 'list')
        self.assertEqual(len(letters), 5)
        for letter in letters:
            self.assertEqual(letter['id'], f"{letter['topic']}-{letter['partition']}-{letter['offset']}")
            self.assertEqual((letter['topic'], letter['owner']), (w.topic(), 'warehouse'))
            self.assertTrue(letter['reason'])
        self.assertEqual(self.codes('--code', '23514'), ['23514'] * 3)
        self.assertEqual(self.codes('--code', 'none of these'), [])
        self.assertEqual(len(self.codes('--limit', '2')), 2)
        self.assertEqual(len(self.codes('--destination', 'warehouse')), 5)
        constraint = self.one('23514')
        self.assertIn('low', constraint['reason'])
        noise = next(letter for letter in letters if letter['key'] == 'noise')
        self.assertEqual((noise['bytes'], noise['retries']), (len(self.noise), 2))
        self.assertEqual(next(letter for letter in letters if letter['key'] == 'gone')['code'], 'null')
        plain = w.run('dlq', 'list')
        for letter in letters:
            self.assertIn(letter['id'], plain.stdout)
            self.assertIn(letter['reason'], plain.stdout)
        self.assertNotIn('shown', plain.stdout, 'notes go to stderr')

    def test_show_has_the_bytes_the_headers_and_the_event(self):
        w = self.letters()
        constraint = self.one('23514')
        shown = json.loads(w.run('dlq', 'show', constraint['id']).stdout)
        self.assertEqual(shown['event']['entity_id'], constraint['key'])
        self.assertEqual(shown['event']['after']['score'], 500)
        noise = next(letter for letter in w.json('dlq', 'list') if letter['key'] == 'noise')
        shown = json.loads(w.run('dlq', 'show', noise['id']).stdout)
        self.assertEqual(bytes.fromhex(shown['value_hex']), self.noise)
        self.assertIsNone(shown['event'])
        self.assertIn('trace', shown['headers'])
        missing = w.run('dlq', 'show', 'nobody-0-1', ok=False)
        self.assertEqual((missing.returncode, missing.stdout), (1, ''))
        self.assertIn('dlq list', missing.stderr)

    def test_drop_wants_a_reason_and_leaves_a_trace(self):
        w = self.letters()
        victim = self.one('null')['id']
        self.assertEqual(w.run('dlq', 'drop', victim, ok=False).returncode, 2)
        dry = w.run('dlq', 'drop', victim, '--dry-run')
        self.assertIn(victim, dry.stdout)
        self.assertEqual(len(self.codes()), 5)
        done = w.run('dlq', 'drop', victim, '--reason', 'sent by mistake')
        self.assertIn('sent by mistake', done.stderr)
        self.assertIn(victim, done.stderr)
        self.assertNotIn('null', self.codes())
        self.assertEqual(w.run('dlq', 'drop', victim, '--reason', 'again', ok=False).returncode, 1)
        w.run('dlq', 'drop', '--all', '--code', '23514', '--reason', 'old')
        self.assertEqual(len(self.codes()), 1)

    def test_retry_sends_what_it_names_and_counts(self):
        w = self.letters()
        before = w.published()
        dry = w.run('dlq', 'retry', '--all', '--code', '23514', '--dry-run')
        self.assertEqual(len(dry.stdout.splitlines()), 3)
        self.assertEqual((w.published(), len(self.codes())), (before, 5))
        self.assertEqual(w.run('dlq', 'retry', 'nobody-0-1', ok=False).returncode, 1)
        # Not mended yet: they come back, with one more try on them.
        w.run('dlq', 'retry', '--all', '--code', '23514')
        wait_for(lambda: len(self.codes('--code', '23514')) == 3, 30, 'the unmended ones to come back', alive=w.processes)
        self.assertEqual([letter['retries'] for letter in w.json('dlq', 'list', '--code', '23514')], [1, 1, 1])
        w.destination.sql('alter table contacts drop constraint low')
        w.run('dlq', 'retry', '--all', '--code', '23514')
        wait_for(lambda: w.destination.one('select count(*) from contacts') == 13, 30, 'the mended ones to arrive', alive=w.processes)
        wait_for(lambda: len(self.codes()) == 2, 30, 'their letters to be gone')

    def test_retry_sends_the_original_key_value_and_headers(self):
        w = self.letters()
        w.run('dlq', 'retry', '--all')
        wait_for(lambda: len(self.codes()) == 5, 30, 'all to come back', alive=w.processes)
        twice = [m for m in w.read(w.topic()) if m.key() == b'noise']
        self.assertEqual([m.value() for m in twice], [self.noise] * 2)
        self.assertEqual(len({m.partition() for m in twice}), 1)
        self.assertEqual([h for h in twice[1].headers() if h[0] != 'lockstep.retries'], [('trace', b'one'), ('trace', b'two'), ('none', None)] + self.many)
        self.assertEqual([v for k, v in twice[1].headers() if k == 'lockstep.retries'], [b'3'])
        nothing = [m for m in w.read(w.topic()) if m.key() == b'gone']
        self.assertEqual([m.value() for m in nothing], [None, None])


main()
