"""The judge of a chaos run. It asks the two databases, and reads the topics with another client and another Avro decoder.

What it holds, by kind:
  lag         within a minute of the last fault everything written is at the destination
  rows        both databases hold the same rows, in every column that the source has
  commit      every acknowledged row change is one event, in the order of its key's revisions; no event without one
  repeat      an event that comes again has the same version and the same revision
  older       no row goes back to an older revision
  twice       no revision takes effect twice
  resurrect   no row comes back with a revision from before its delete
  offsets     marks only grow; strictly within an epoch, whose number only grows (but for what waited for others and is tried again)
  versions    the fold of the versions topic is what the rows say
  ledger      the processed events are the events of the topics
  letters     dead letters are the poison that was sent, byte for byte, and nothing else
"""
import collections, io, json, os, sys, threading, time

import fastavro
import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tables import ENTITIES, KEYS, TABLE, WATCH_LEDGER

Event = collections.namedtuple('Event', 'entity partition offset key event_id version change rev source')
LAG_SECONDS, MOST = 60, 8  # how long after the last fault; how many examples of one kind are printed


def columns_of(pg, table):
    return [c for (c,) in pg.sql('select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum', table)]


def key_expression(table):
    return " || '|' || ".join(f'{c}::text' for c in KEYS[table])


def row_key(entity_id):
    """The key as the tables' triggers write it: an entity id of several columns is a JSON array."""
    return '|'.join(json.loads(entity_id)) if entity_id.startswith('[') else entity_id


class Reader:
    """Messages of a topic from its beginning to its present end, and no further."""

    def __init__(self, world):
        self.world = world

    def consumer(self):
        return Consumer({'bootstrap.servers': self.world.kafka.direct, 'group.id': f'oracle-{os.getpid()}', 'enable.auto.commit': False,
                         'auto.offset.reset': 'earliest', 'log_level': 2, 'fetch.max.bytes': 8_000_000})

    def partitions(self, topic):
        found = self.world.kafka.admin.list_topics(timeout=30).topics.get(topic)
        return sorted(found.partitions) if found and not found.error else []

    def ends(self, topic):
        reader = self.consumer()
        try:
            return {p: reader.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1] for p in self.partitions(topic)}
        finally:
            reader.close()

    def read(self, topic, seconds=120):
        reader, out, want = self.consumer(), [], {}
        try:
            for p in self.partitions(topic):
                low, high = reader.get_watermark_offsets(TopicPartition(topic, p), timeout=30)
                if high > low:
                    want[p] = high
            reader.assign([TopicPartition(topic, p, 0) for p in want])
            end = time.monotonic() + seconds
            while want and time.monotonic() < end:
                for message in reader.consume(5000, 0.5):
                    if not message.error():
                        out.append(message)
                for at in reader.position([TopicPartition(topic, p) for p in want]):
                    if at.offset >= want[at.partition]:
                        del want[at.partition]
            if want:
                raise RuntimeError(f'{topic}: did not reach the end of partitions {sorted(want)}')
            return out
        finally:
            reader.close()


class Tail(threading.Thread):
    """Reads the events while they are made: some may be gone from the topic at the end."""

    def __init__(self, oracle):
        super().__init__(daemon=True, name='oracle-tail')
        self.oracle, self.ended, self.events, self.problem = oracle, threading.Event(), [], None
        self.schemas, self.position, self.raw = {}, {}, 0

    def run(self):
        try:
            self.follow()
        except Exception as e:
            self.problem = f'{type(e).__name__}: {e}'

    def follow(self):
        world, reader = self.oracle.world, self.oracle.reader.consumer()
        names = [*world.topics.events, world.topics.schemas]
        reader.assign([TopicPartition(t, p, 0) for t in names for p in self.oracle.reader.partitions(t)])
        waiting = []
        while not self.ended.is_set():
            for message in reader.consume(2000, 0.3):
                if message.error():
                    continue
                if message.topic() == world.topics.schemas:
                    if message.value():
                        self.schemas[bytes.fromhex(message.key().decode())] = fastavro.parse_schema(json.loads(message.value()), _force=True)
                else:
                    waiting.append(message)
            # An event may be read before its schema, which is in another topic.
            waiting = [m for m in waiting if not self.take(m)]
        reader.close()

    def take(self, message):
        value, place = message.value(), (message.topic(), message.partition())
        known = value is not None and len(value) > 10 and value[:2] == b'\xc3\x01'
        if known and value[2:10] not in self.schemas:
            if place + (message.offset(),) not in self.oracle.world.workload.poisons:
                return False
            known = False
        if known:
            event = fastavro.schemaless_reader(io.BytesIO(value[10:]), self.schemas[value[2:10]])
            row = event['after'] or {}
            self.events.append(Event(message.topic().split('.', 1)[1], message.partition(), message.offset(), row_key(event['entity_id']),
                                     event['event_id'], event['version'], event['change_type'], row.get('rev'), event['source']))
        self.position[place] = max(self.position.get(place, 0), message.offset() + 1)
        return True


class Oracle:
    def __init__(self, world):
        self.world, self.reader = world, Reader(world)
        self.tail, self.prefill, self.found, self.figures = None, 0, [], {}
        self.cut, self.restored = set(), 0

    # ---- what faults tell ----

    def note_restored(self):
        self.restored += 1

    def topic_cut(self, topic):
        self.cut.add(topic)

    # ---- before and during the run ----

    def begin(self):
        """Called when lockstep's topics and ledger are there and before the work begins."""
        self.prefill = self.world.source_pg.sql('select coalesce(max(n), 0) from chaos.journal')[0][0]
        self.tail = Tail(self)
        self.tail.start()

    def watch_ledger(self):
        self.world.destination_pg.sql(WATCH_LEDGER)

    def wrong(self, kind, lines, total=None):
        """lines: one violation each; a few of them are printed."""
        lines = list(lines)
        for line in lines[:MOST]:
            self.world.violation(kind, line)
        for line in lines[MOST:]:
            self.world.violations.append((kind, line))

    # ---- the end ----

    def marks(self):
        return {(t, p): n for t, p, n in self.world.destination_pg.sql("select topic, partition, next_offset from identity.sync_offsets where destination = 'warehouse'")}

    def behind(self, lsn):
        """Why the lag is not zero; empty when it is."""
        slots = self.world.source_pg.sql('select slot_name, active, confirmed_flush_lsn, confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots where database = %s', lsn, self.world.source_pg.database)
        if not slots or not all(reached for *_, reached in slots):
            return f'capture has not confirmed {lsn}: {[s[:3] for s in slots]}'
        waiting = self.world.destination_pg.sql('select topic, partition, "offset", code, reason from identity.sync_waiting limit 3')
        if waiting:
            return f'events wait for rows of others: {waiting}'
        marks = self.marks()
        return '; '.join(f'{t}[{p}] at {marks.get((t, p))} of {end}' for t in self.world.topics.events for p, end in self.reader.ends(t).items()
                         if end and marks.get((t, p)) != end)

    def wait_for_lag(self, last_fault):
        """Seconds from the last fault until nothing was behind."""
        lsn = str(self.world.source_pg.sql('select pg_current_wal_insert_lsn()')[0][0])
        late, why = False, ''
        while True:
            self.world.look_after()
            try:
                why = self.behind(lsn)
            except (psycopg.Error, KafkaException) as e:
                why = f'{type(e).__name__}: {e}'
            took = time.monotonic() - last_fault
            if not why:
                self.figures['lag_seconds'] = round(took, 1)
                return True
            if took > LAG_SECONDS and not late:
                late = True
                self.wrong('lag', [f'not zero {LAG_SECONDS} s after the last fault: {why[:600]}'])
            if took > LAG_SECONDS * 3:
                self.wrong('lag', [f'not zero {LAG_SECONDS * 3} s after the last fault: {why[:600]}'])
                return False
            time.sleep(0.3)

    def stop_tail(self):
        end = time.monotonic() + 90
        ends = {(t, p): e for t in self.world.topics.events for p, e in self.reader.ends(t).items() if e}
        while time.monotonic() < end and any(self.tail.position.get(at, 0) < e for at, e in ends.items()) and self.tail.is_alive():
            time.sleep(0.1)
        behind = {at: (self.tail.position.get(at, 0), e) for at, e in ends.items() if self.tail.position.get(at, 0) < e}
        self.tail.ended.set()
        self.tail.join(60)
        if self.tail.problem or behind:
            raise RuntimeError(f'the oracle could not read the events: {self.tail.problem or behind}')

    def logs(self):
        return (self.world.source_pg.sql('select n, tbl, op, key, rev from chaos.journal order by n'),
                self.world.destination_pg.sql('select n, tbl, op, key, old_rev, new_rev, txid::text::bigint from chaos.audit order by n'))

    def judge(self, last_fault):
        """All checks; what they find is in world.violations."""
        if not self.wait_for_lag(last_fault):
            # What is missing says nothing then; what went wrong in what is there still does.
            self.figures['lag_seconds'] = None
            journal, audit = self.logs()
            self.history(audit, journal)
            self.offsets()
            return
        self.stop_tail()
        self.events = self.tail.events
        self.figures.update(events=len(self.events))
        journal, audit = self.logs()
        self.figures.update(commits=self.world.workload.transactions, changes=sum(1 for j in journal if j[0] > self.prefill), effective=len(audit))
        for check in (self.rows, self.repeats):
            check()
        self.commits(journal)
        self.history(audit, journal)
        self.offsets()
        self.letters()
        if self.world.ledger == 'full':
            self.ledger()
        self.versions()

    def rows(self):
        for _, table, _ in ENTITIES:
            columns = columns_of(self.world.source_pg, table)
            missing = set(columns) - set(columns_of(self.world.destination_pg, table))
            if missing:
                self.wrong('rows', [f'{table}: the destination has no column {sorted(missing)}'])
                columns = [c for c in columns if c not in missing]
            query = f'select {key_expression(table)}, ' + ', '.join(f'case when length("{c}"::text) > 200 then md5("{c}"::text) else "{c}"::text end' for c in columns) + f' from {table}'
            ours, theirs = ({r[0]: r[1:] for r in pg.sql(query)} for pg in (self.world.source_pg, self.world.destination_pg))
            wrong = [f'{table} {k}: not at the destination; the source has {dict(zip(columns, ours[k]))}' for k in sorted(ours.keys() - theirs.keys())]
            wrong += [f'{table} {k}: only at the destination: {dict(zip(columns, theirs[k]))}' for k in sorted(theirs.keys() - ours.keys())]
            for k in sorted(ours.keys() & theirs.keys()):
                if ours[k] != theirs[k]:
                    apart = {c: (a, b) for c, a, b in zip(columns, ours[k], theirs[k]) if a != b}
                    wrong.append(f'{table} {k}: source and destination differ in {apart}; rev {ours[k][columns.index("rev")]} at the source')
            self.wrong('rows', wrong)
            self.figures['rows'] = self.figures.get('rows', 0) + len(ours)

    def repeats(self):
        first, again, wrong = {}, 0, []
        for e in self.events:
            seen = first.setdefault(e.event_id, e)
            if seen is e:
                continue
            again += 1
            if (seen.version, seen.rev, seen.key, seen.change) != (e.version, e.rev, e.key, e.change):
                wrong.append(f'{e.event_id}: first {seen}, then {e}')
        self.distinct = first
        self.figures['repeated'] = again
        self.wrong('repeat', wrong)

    def commits(self, journal):
        """Per key: what the source acknowledged, in the order of its revisions, is what the topic holds, in the order of its versions."""
        said, heard = collections.defaultdict(list), collections.defaultdict(list)
        for n, table, op, key, rev in journal:
            if n > self.prefill:
                said[table, key].append((rev, op))
        for e in self.distinct.values():
            if e.source == 'crm' and e.change != 'SNAPSHOT':
                heard[TABLE[e.entity], e.key].append((e.version, e.change[0], e.rev, e.event_id))
        wrong = []
        for at in said.keys() | heard.keys():
            ours = [(op, None if op == 'D' else rev) for rev, op in sorted(said[at])]
            theirs = [(op, rev) for _, op, rev, _ in sorted(heard[at])]
            if ours != theirs:
                n = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
                wrong.append(f'{at[0]} {at[1]}: acknowledged {len(ours)} changes, events {len(theirs)}; from change {n}: {ours[n:n + 4]} against '
                             f'{[(op, rev, i) for _, op, rev, i in sorted(heard[at])[n:n + 4]]}')
        self.wrong('commit', wrong)

    def history(self, audit, journal):
        """Per row the destination's own log of its changes. What one transaction did to a row counts as one change."""
        deletes = collections.defaultdict(list)
        for _, table, op, key, rev in journal:
            if op == 'D':
                deletes[table, key].append(rev)
        net, order = {}, []
        for n, table, op, key, old, new, txid in audit:
            at = (txid, table, key)
            if at not in net:
                net[at] = [n, old, new]
                order.append(at)
            else:
                net[at][2] = new
        older, twice, back, last = [], [], [], {}
        for at in order:
            n, old, new = net[at]
            row = at[1:]
            top, floor = last.get(row, (0, 0))
            what = f'change {n}: {row[0]} {row[1]} from rev {old} to {new}'
            if new is None:
                if old is not None:
                    after = [d for d in deletes[row] if d > old]
                    if not after:
                        older.append(f'{what}: the source never deleted it after that revision')
                    last[row] = (max(top, old), min(after, default=top))
                continue
            if new < floor:
                back.append(f'{what}, although deleted at rev {floor}')
            elif new == top and not (old == new):
                twice.append(f'{what}, which took effect before')
            elif new < top:
                older.append(f'{what}, after rev {top}')
            last[row] = (max(new, top), 0)
        self.wrong('older', older)
        self.wrong('twice', twice)
        self.wrong('resurrect', back)

    def offsets(self):
        wrong, last = [], {}
        again = {t for (t,) in self.world.destination_pg.sql('select distinct txid::text from chaos.waits')}
        moves = self.world.destination_pg.sql('select n, topic, partition, next_offset, owner_epoch, was_offset, was_epoch, txid::text from chaos.marks order by n')
        for n, topic, partition, offset, epoch, was_offset, was_epoch, txid in moves:
            at, what = (topic, partition), f'move {n}: {topic}[{partition}] from {was_offset} (epoch {was_epoch}) to {offset} (epoch {epoch})'
            before, held = last.get(at, (-1, 0))
            if topic in self.cut:
                continue
            if epoch < held or was_epoch is not None and epoch < was_epoch:
                wrong.append(f'{what}: the epoch went back')
            elif offset < before or was_offset is not None and offset < was_offset:
                wrong.append(f'{what}: the mark went back, from {before}')
            elif epoch == held and offset == before and txid not in again:
                wrong.append(f'{what}: the same mark again in one epoch')
            last[at] = (offset, epoch)
        self.figures['marks'] = len(moves)
        self.wrong('offsets', wrong)

    # ---- topics beside the events ----

    def letters(self):
        poison, found, wrong = dict(self.world.workload.poisons), {}, []
        for message in self.reader.read(self.world.topics.dlq) if self.reader.partitions(self.world.topics.dlq) else []:
            if message.value() is None and not message.headers():
                found.pop(message.key(), None)
            else:
                found[message.key()] = message
        self.figures.update(poison=len(poison), letters=len(found))
        for (topic, partition, offset), value in poison.items():
            letter = found.pop(f'{topic}-{partition}-{offset}'.encode(), None)
            if letter is None:
                wrong.append(f'the poison {value!r:.60} at {topic}[{partition}] {offset} is no dead letter')
            elif (letter.value() or b'') != (value or b''):
                wrong.append(f'the dead letter of {topic}[{partition}] {offset} holds {letter.value()!r:.60} instead of {value!r:.60}')
        for key, letter in found.items():
            reason = dict(letter.headers() or []).get('lockstep.reason') or letter.headers()
            wrong.append(f'{key.decode(errors="replace")} is a dead letter and was no poison: {str(reason)[:300]}')
        if self.reader.partitions(self.world.topics.source_dlq):
            wrong += [f'capture made a dead letter: {str(m.headers())[:300]}' for m in self.reader.read(self.world.topics.source_dlq)]
        self.wrong('letters', wrong)

    def ledger(self):
        processed = {e for (e,) in self.world.destination_pg.sql("select event_id from identity.sync_processed_events where destination = 'warehouse'")}
        events = set(self.distinct)
        # An event that comes after a newer one of its row is passed over: a snapshot that was begun again holds what follows in the log.
        newest = {}
        for e in sorted(self.events, key=lambda e: (e.entity, e.partition, e.offset)):
            if e.version <= newest.get((e.entity, e.key), -1):
                if self.distinct[e.event_id] is e:
                    events.discard(e.event_id)
                    processed.discard(e.event_id)
            else:
                newest[e.entity, e.key] = e.version
        # What took no effect at its place, so that a fold leaves it out: dead letters, and events that were known by then.
        passed = {e for e in processed if e.startswith('passed:')}
        places = {f'passed:{t}-{p}-{o}' for t, p, o in self.world.workload.poisons}
        places |= {f'passed:{self.world.topics.prefix}.{e.entity}-{e.partition}-{e.offset}' for e in self.events if self.distinct[e.event_id] is not e}
        processed -= passed
        wrong = [f'{e}: a place that held an effective event' for e in sorted(passed - places)]
        wrong += [f'event {e} is not in the ledger: {self.distinct[e]}' for e in sorted(events - processed)]
        wrong += [f'{e} is in the ledger and was never an event' for e in sorted(processed - events)]
        self.wrong('ledger', wrong)

    def fold(self, topic, schema):
        """{entity id: state} by the greatest stamp, and the markers {partition: below}."""
        states, markers = {}, {}
        for message in self.reader.read(topic):
            key, value = message.key(), message.value()
            if key[:1] == b'\xff':
                below = json.loads(value)['below']
                markers[message.partition()] = max(below, markers.get(message.partition(), 0))
                continue
            if value is None:
                continue
            state = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema)
            stamp = (state['version'], state['timestamp'], state['source'], state['event_id'])
            if key not in states or stamp > states[key][0]:
                states[key] = (stamp, state)
        return states, markers

    def versions(self, patience=30):
        with open(os.path.join(os.path.dirname(__file__), '..', '..', 'schemas', 'version_state.avsc')) as f:
            schema = fastavro.parse_schema(json.load(f), _force=True)
        end, marks = time.monotonic() + patience, self.marks()
        wrong, count = [], 0
        for entity, table, _ in ENTITIES:
            events, topic = f'{self.world.topics.prefix}.{entity}', f'{self.world.topics.prefix}.{entity}.versions.warehouse'
            while True:
                states, markers = self.fold(topic, schema)
                late = {p: (markers.get(p), n) for (t, p), n in marks.items() if t == events and n > 0 and markers.get(p, 0) < n}
                if not late or time.monotonic() > end:
                    break
                time.sleep(0.5)
            if late:
                wrong.append(f'{topic}: markers stay behind the marks: {late}')
            rows = dict(self.world.destination_pg.sql(f'select {key_expression(table)}, rev from {table}'))
            count += len(states)
            wrong += self.apart(table, {row_key(k.decode()): s for k, (_, s) in states.items()}, rows)
        self.figures['states'] = count
        self.wrong('versions', wrong)

    def apart(self, table, states, rows):
        for key, state in states.items():
            event = self.distinct.get(state['event_id'])
            if event is None:
                yield f'{table} {key}: its state names {state["event_id"]}, which was never an event'
            elif state['deleted'] != (key not in rows):
                yield f'{table} {key}: its state says deleted={state["deleted"]}, the row is {"there" if key in rows else "not there"}: {state}'
            elif not state['deleted'] and rows[key] != event.rev:
                yield f'{table} {key}: its state names {state["event_id"]} of rev {event.rev}, the row has rev {rows[key]}'
        for key in rows.keys() - states.keys():
            yield f'{table} {key}: a row without a state'
