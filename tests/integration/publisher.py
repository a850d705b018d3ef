"""Events that somebody else's program publishes: the example of docs/publishing.md, and a stranger's schema with fields of its own."""
import io, json, os, re, subprocess, sys, time, uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import ROOT, Scenario, main, wait_for

import fastavro

STRANGER = {'type': 'record', 'name': 'CustomerChanged', 'namespace': 'com.example.shop', 'fields': [
    {'name': 'trace', 'type': ['null', 'string'], 'default': None},
    {'name': 'event_id', 'type': 'string'}, {'name': 'source', 'type': 'string'}, {'name': 'entity_type', 'type': 'string'},
    {'name': 'entity_id', 'type': 'string'},
    {'name': 'change_type', 'type': {'type': 'enum', 'name': 'Kind', 'symbols': ['DELETE', 'INSERT', 'SNAPSHOT', 'UPDATE']}},
    {'name': 'timestamp', 'type': {'type': 'long', 'logicalType': 'timestamp-micros'}},
    {'name': 'after', 'type': ['null', {'type': 'record', 'name': 'Customer', 'fields': [
        {'name': 'name', 'type': 'string'}, {'name': 'id', 'type': 'long'}, {'name': 'score', 'type': ['double', 'null']},
        {'name': 'loyalty', 'type': {'type': 'array', 'items': 'int'}},
        {'name': 'shop', 'type': {'type': 'map', 'values': 'string'}}]}]},
    {'name': 'audit', 'type': {'type': 'record', 'name': 'Audit', 'fields': [{'name': 'by', 'type': 'string'}]}}]}


class Publisher(Scenario):
    def receiving(self):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text, email text, score float8)')
        w.configure()
        w.run('topics', 'create')
        w.start('sink', wait=True)
        return w

    def test_the_example_of_the_documentation_arrives(self):
        w = self.receiving()
        with open(f'{ROOT}/docs/publishing.md') as f:
            blocks = re.findall(r'```python\n(.*?)```', f.read(), re.S)
        self.assertTrue(blocks, 'docs/publishing.md has no Python example')
        example = blocks[0].replace('127.0.0.1:9092', w.kafka).replace('localhost:9092', w.kafka)
        example = re.sub(r'(["\'])lockstep((?:\.[a-z.]+)?)\1', rf'\1{w.prefix}\2\1', example)
        example = re.sub(r'(f["\'])lockstep\.', rf'\1{w.prefix}.', example)
        with open(f'{w.dir}/example.py', 'w') as f:
            f.write(example)
        done = subprocess.run([sys.executable, f'{w.dir}/example.py'], capture_output=True, text=True, timeout=60, cwd=w.dir)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        wait_for(lambda: w.destination.one('select count(*) from contacts') > 0, 30, "the example's contact")
        self.assertEqual(w.dead(), [])

    def test_a_strangers_schema_with_extra_fields_arrives(self):
        w = self.receiving()
        opening, producer = w.register(STRANGER), w.producer()
        schema = fastavro.parse_schema(STRANGER)
        for i in range(1, 501):
            out = io.BytesIO()
            fastavro.schemaless_writer(out, schema, {
                'trace': None, 'event_id': str(uuid.uuid4()), 'source': 'shop', 'entity_type': 'contact', 'entity_id': str(i), 'change_type': 'INSERT',
                'timestamp': int(time.time() * 1e6), 'audit': {'by': 'till 7'},
                'after': {'id': i, 'name': f'Käufer {i}', 'score': i / 4, 'loyalty': [1, 2], 'shop': {'a': 'b'}}})
            producer.produce(w.topic(), key=str(i), value=opening + out.getvalue())
        producer.flush(30)
        wait_for(lambda: w.caught_up(), 60, 'the sink to apply them')
        self.assertEqual(w.dead(), [])
        rows = w.destination.sql('select id, name, email, score from contacts order by id')
        self.assertEqual(rows, [(i, f'Käufer {i}', None, i / 4) for i in range(1, 501)])

    def test_an_update_without_a_column_leaves_it_alone(self):
        w = self.receiving()
        opening, producer = w.register(STRANGER), w.producer()
        w.destination.sql("insert into contacts values (1, 'before', 'kept@example.com', 1)")
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(STRANGER), {
            'trace': 'x', 'event_id': 'one', 'source': 'shop', 'entity_type': 'contact', 'entity_id': '1', 'change_type': 'UPDATE',
            'timestamp': int(time.time() * 1e6), 'audit': {'by': 'me'}, 'after': {'id': 1, 'name': 'after', 'score': None, 'loyalty': [], 'shop': {}}})
        producer.produce(w.topic(), key='1', value=opening + out.getvalue())
        producer.flush(30)
        wait_for(lambda: w.caught_up(), 30, 'the sink to apply it')
        self.assertEqual(w.destination.sql('select id, name, email, score from contacts'), [(1, 'after', 'kept@example.com', None)])

    def test_lines_of_json_on_standard_input_are_published(self):
        w = self.receiving()
        lines = [json.dumps({'entity': 'contact', 'id': str(i), 'source': 'script', 'type': 'INSERT', 'event_id': f'line-{i}',
                             'data': {'id': i, 'name': f'name "{i}"', 'email': None, 'score': 0.5}}) for i in range(1, 201)]
        w.run('publish', input='\n'.join(lines) + '\n')
        wait_for(lambda: w.destination.one('select count(*) from contacts') == 200, 30, 'two hundred contacts')
        self.assertEqual(w.destination.sql('select name, email, score from contacts where id = 7'), [('name "7"', None, 0.5)])
        w.run('publish', '--entity', 'contact', '--id', '7', '--source', 'script', '--type', 'DELETE')
        wait_for(lambda: w.destination.one('select count(*) from contacts') == 199, 30, 'the delete')

    def test_the_same_event_id_twice_is_applied_once(self):
        w = self.receiving()
        w.audit('contacts')
        for name in ('first', 'second'):
            w.run('publish', '--entity', 'contact', '--id', '1', '--source', 'script', '--type', 'UPDATE', '--event-id', 'the same',
                  '--data', json.dumps({'id': 1, 'name': name}))
        wait_for(lambda: w.caught_up(), 30, 'the sink to handle both')
        self.assertEqual(w.destination.sql('select name from contacts'), [('first',)])
        self.assertEqual(w.destination.one('select count(*) from audit'), 1)

    def test_three_clients_put_a_key_on_one_partition(self):
        w = self.receiving()
        keys = [f'{i}' for i in range(40)] + ['ünï', 'a b', '["7","a"]']
        producer = w.producer()
        for key in keys:
            producer.produce(f'{w.topic()}.priority', key=key, value=b'probe')
        producer.flush(30)
        text = ''.join(f'{k}\tprobe\n' for k in keys)
        subprocess.run(['kcat', '-b', w.kafka, '-t', f'{w.topic()}.priority', '-P', '-K', '\t', '-X', 'partitioner=murmur2_random'], input=text, text=True, check=True, timeout=30)
        for key in keys:
            w.run('publish', input=json.dumps({'entity': 'contact', 'id': key, 'source': 's', 'type': 'DELETE', 'event_id': f'd{key}'}) + '\n')
        where = {}
        for topic in (w.topic(), f'{w.topic()}.priority'):
            for m in w.read(topic):
                where.setdefault(m.key().decode(), set()).add(m.partition())
        self.assertEqual({k: p for k, p in where.items() if len(p) > 1}, {})
        self.assertEqual(set(where), set(keys))


main()
