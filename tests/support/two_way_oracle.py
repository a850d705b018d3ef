"""Judges two-way runs by what the databases' own logs and the topics say; nothing here is asked of lockstep.

Each database has a slot of PostgreSQL's own test_decoding plugin beside lockstep's. It gives, in commit order, every row change of
the entity's table and every step of the sink's marks. From that follows for each local edit which events the writer's database had
applied when the edit was committed: the happened-before order of all edits. The topic, read by confluent-kafka and fastavro, gives the
log that every destination folds. Both together say which rows, which base and which conflicts are the right ones.
"""
import collections, json, re

CELL = re.compile(r'(\w+)\[[^\]]*\]:(\'(?:[^\']|\'\')*\'|\S+)')
LINE = re.compile(r'table (\w+)\.(\w+): (INSERT|UPDATE|DELETE): ?(.*)', re.S)


def cells(text):
    """{column: text} of one tuple as test_decoding writes it."""
    return {name: None if value == 'null' else value[1:-1].replace("''", "'") if value[0] == "'" else value for name, value in CELL.findall(text)}


class Change:
    """One row change of the entity's table at one database: `old` and `new` rows, None where there is none."""

    def __init__(self, side, key, old, new, marks, ours, transaction):
        self.side, self.key, self.old, self.new, self.ours, self.transaction = side, key, old, new, ours, transaction
        self.marks = dict(marks)  # {partition: (next_offset, max_version)} committed before it, or with it where a sink wrote it
        self.event = None
        self.shown = set()  # event ids that this row had shown at this database before this change

    def __repr__(self):
        return f'{self.side}/{self.key} {"sink" if self.ours else "edit"} {self.old} -> {self.new} at {self.marks}'


class Journal:
    """What one database committed, in commit order. `drain` may be called as often as one likes; a slot holds back log."""

    def __init__(self, name, db, topic, table='contacts', key='id', ledger='identity'):
        self.name, self.db, self.topic, self.table, self.key, self.ledger = name, db, topic, table, key, ledger
        self.slot = f'bench_{db.one("select current_database()")}'[:60]
        self.changes, self.marks, self.transactions = [], {}, 0
        db.sql("select pg_create_logical_replication_slot(%s, 'test_decoding')", self.slot)

    def drain(self):
        transaction = []
        for (line,) in self.db.sql("select data from pg_logical_slot_get_changes(%s, null, null, 'include-xids', '0', 'skip-empty-xacts', '1')", self.slot):
            if line == 'BEGIN':
                transaction = []
            elif line == 'COMMIT':
                self.take(transaction)
            else:
                transaction.append(line)
        return self

    def take(self, lines):
        self.transactions += 1
        rows, marks = [], {}
        for line in lines:
            found = LINE.match(line)
            if not found:
                continue
            schema, table, op, text = found.groups()
            old, new = '', text
            if op == 'UPDATE' and text.startswith('old-key: '):
                old, new = text[len('old-key: '):].split(' new-tuple: ', 1)
            elif op == 'DELETE':
                old, new = text, ''
            if schema == self.ledger and table == 'sync_offsets':
                row = cells(new)
                if row and row['destination'] == self.name and row['topic'] == self.topic and int(row['next_offset']) >= 0:
                    marks[int(row['partition'])] = (int(row['next_offset']), row['max_version'] and int(row['max_version']))
            elif schema == 'public' and table == self.table:
                rows.append((cells(old) if old else None, cells(new) if new else None))
        moved = bool(marks)
        if moved:
            self.marks.update(marks)
        for old, new in rows:
            self.changes.append(Change(self.name, (new or old)[self.key], old, new, self.marks, moved, self.transactions))

    def close(self):
        self.db.sql('select pg_drop_replication_slot(%s)', self.slot)


def stamp(event):
    return event['version'], event['timestamp'], event['source'].encode()


class Log:
    """The topic: the events of each key in the order of the partition, each event id once, at its first offset."""

    def __init__(self, events):
        self.by_id, self.keys, self.copies = {}, collections.defaultdict(list), collections.Counter()
        self.faults = []
        for e in sorted(events, key=lambda e: (e['_partition'], e['_offset'])):
            self.copies[e['event_id']] += 1
            first = self.by_id.setdefault(e['event_id'], e)
            if first is e:
                self.keys[e['entity_id']].append(e)
            elif stamp(first) != stamp(e) or first['after'] != e['after']:
                self.faults.append(f'event {e["event_id"]} is in the topic twice and differs: {first} / {e}')

    def partition(self, key):
        return self.keys[key][0]['_partition']

    def winner(self, key, below=None, dead=()):
        """The greatest stamp among the key's events below an offset; None: there is none."""
        known = [e for e in self.keys[key] if (below is None or e['_offset'] < below) and e['event_id'] not in dead]
        return max(known, key=stamp, default=None)


def text_of(value):
    return None if value is None else str(value)


def same_row(event, row):
    """Whether a row of the log is what the event says."""
    if event['change_type'] == 'DELETE' or row is None:
        return event['change_type'] == 'DELETE' and row is None
    return {k: text_of(v) for k, v in event['after'].items()} == row


class Judgement:
    """Everything that can be said of a finished run. `faults`: each a text; empty when all is right.

    dead: {destination: event ids that are dead letters there}. guard: rows may be kept back from an older event.
    rewritten: sides whose triggers rewrite rows, so that they hold something else than the event says. bases: capture read the marks from
    the first edit on."""

    def __init__(self, journals, events, dead=None, guard=False, rewritten=(), bases=True):
        self.journals, self.log, self.guard, self.rewritten = journals, Log(events), guard, set(rewritten)
        self.dead = {j.name: set((dead or {}).get(j.name, ())) for j in journals}
        self.faults = self.log.faults
        self.histories = {j.name: self.history(j) for j in journals}
        self.match_edits()
        self.follow_sinks()
        if bases:
            self.check_bases()

    def fault(self, text):
        self.faults.append(text)

    @staticmethod
    def history(journal):
        keys = collections.defaultdict(list)
        for change in journal.changes:
            keys[change.key].append(change)
        return keys

    # ---- every local edit is one event, and no event is anything else ----

    def match_edits(self):
        names = {j.name for j in self.journals}
        for e in self.log.by_id.values():
            if e['source'] not in names:
                self.fault(f'event of an unknown source: {e}')
        for name, keys in self.histories.items():
            for key in set(keys) | set(self.log.keys):
                edits = [c for c in keys.get(key, ()) if not c.ours]
                events = sorted((e for e in self.log.keys.get(key, ()) if e['source'] == name), key=lambda e: e['version'])
                if len(edits) != len(events):
                    self.fault(f'{name} edited row {key} {len(edits)} times and sent {len(events)} events: '
                               f'{edits[-3:]} / {[(e["change_type"], e["after"]) for e in events[-3:]]}')
                for edit, event in zip(edits, events):
                    if not same_row(event, edit.new):
                        self.fault(f'an event differs from its edit: {edit} / {event}')
                    edit.event = event

    # ---- what each sink wrote, and what each row had shown when ----

    def follow_sinks(self):
        for name, keys in self.histories.items():
            for key, changes in keys.items():
                self.follow(name, key, changes)

    def follow(self, name, key, changes):
        shown, writes = set(), collections.defaultdict(set)
        for change in changes:
            change.shown = set(shown)
            if change.ours:
                change.event = self.judge_write(name, key, change)
            if change.event:
                if change.ours:
                    writes[change.event['event_id']].add(change.transaction)
                shown.add(change.event['event_id'])
        for event_id, transactions in writes.items():
            count = len(transactions)
            if count > self.log.copies[event_id]:
                self.fault(f'{name} wrote event {event_id} of row {key} {count} times; it is in the topic {self.log.copies[event_id]} times')

    def judge_write(self, name, key, change):
        mark = change.marks.get(self.log.partition(key), (0, None))[0] if self.log.keys.get(key) else 0
        winner = self.log.winner(key, mark, self.dead[name])
        if winner is None:
            self.fault(f'a sink wrote what is in no event: {change}')
        elif name not in self.rewritten and not same_row(winner, change.new):
            self.fault(f'a sink wrote something else than the winner below its mark: {change} / {winner}')
        elif name not in self.rewritten and change.old == change.new:
            self.fault(f'a sink wrote a row as it was: {change}')
        return winner

    # ---- base_offset and base_version are what the writer's database had applied ----

    def check_bases(self):
        for keys in self.histories.values():
            for change in (c for changes in keys.values() for c in changes if not c.ours and c.event):
                event = change.event
                mark, highest = change.marks.get(event['_partition'], (None, None))
                if (event['base_offset'], event['base_version']) != (mark, highest):
                    self.fault(f'base {event["base_offset"]}, {event["base_version"]} of {event["event_id"]} is not what its database had seen: {change}')
                for seen in (self.log.by_id[i] for i in change.shown):
                    if stamp(seen) >= stamp(event):
                        self.fault(f'an edit that had seen {seen["event_id"]} does not win over it: {change}')

    # ---- the ends ----

    def check_rows(self, rows):
        """rows: {side: {key: {column: text}}} as they stand now. Equal everywhere, and what the greatest stamp says."""
        for name, have in rows.items():
            if name in self.rewritten:
                continue
            for key in set(have) | set(self.log.keys):
                winner = self.log.winner(key, dead=self.dead[name]) if key in self.log.keys else None
                if winner is None or not same_row(winner, have.get(key)):
                    self.fault(f'{name} ends with row {key} as {have.get(key)}, the winner is {winner}')

    def writes(self, name):
        """Row changes that the sinks made at a side."""
        return sum(c.ours for c in self.journal(name).changes)

    def journal(self, name):
        return next(j for j in self.journals if j.name == name)

    # ---- conflicts ----

    def conflicts(self, destination):
        """{(key, id of the winner, id of the loser)} that this destination had to see: an event meets a winner of another source that
        its writer had not seen."""
        found, edits = set(), self.edits()
        for key, events in self.log.keys.items():
            winner = None
            for e in (e for e in events if e['event_id'] not in self.dead[destination]):
                edit = edits.get(e['event_id'])  # None: that no edit made this event is a fault already
                if edit and winner and winner['source'] != e['source'] and self.unseen(edit, winner):
                    first, last = sorted((winner, e), key=stamp)
                    found.add((key, last['event_id'], first['event_id']))
                winner = e if winner is None or stamp(e) > stamp(winner) else winner
        return found

    def edits(self):
        """{event id: the local edit it came from}."""
        return {c.event['event_id']: c for keys in self.histories.values() for changes in keys.values() for c in changes if not c.ours and c.event}

    def unseen(self, edit, winner):
        """Whether the writer of `edit` did not know `winner`: its row never showed it, and its database had not passed it over.
        Passed over without a trace are deletes of rows that are not there, and what a guard kept back."""
        if winner['event_id'] in edit.shown:
            return False
        mark = edit.marks.get(winner['_partition'], (0, None))[0]
        if mark > winner['_offset'] and winner['change_type'] != 'DELETE' and not self.guard:
            self.fault(f'{edit} passed over {winner["event_id"]} and its row never showed it')
        return mark <= winner['_offset']

    @staticmethod
    def conflict_of(report):
        return report['destination'], report['entity_id'], report['winner']['event_id'], report['loser']['event_id']

    def check_conflicts(self, reported, kept):
        """reported: the values of {prefix}.conflicts, where one may be told again when a sink died. kept: the same of sync_conflicts of
        every side, in which each stands once."""
        for journal in self.journals:
            want, name = self.conflicts(journal.name), journal.name
            self.compare_conflicts(f'{name}, topic', want, [r for r in reported if r['destination'] == name])
            self.compare_conflicts(f'{name}, sync_conflicts', want, kept[name])
            if len(kept[name]) != len({self.conflict_of(r) for r in kept[name]}):
                self.fault(f'{name} keeps a conflict twice')

    def compare_conflicts(self, where, want, reports):
        have = {self.conflict_of(r)[1:] for r in reports}
        for missing in want - have:
            self.fault(f'{where}: did not report the conflict {missing}')
        for extra in have - want:
            self.fault(f'{where}: reported what is no conflict: {extra}: {[self.log.by_id.get(i) for i in extra[1:]]}')
        for report in reports:
            self.check_payloads(where, report)

    def check_payloads(self, where, report):
        for side in ('winner', 'loser'):
            event, told = self.log.by_id.get(report[side]['event_id']), report[side]
            if event is None or told.get('source') != event['source'] or told.get('version') != event['version'] or 'left_out' in told:
                self.fault(f'{where}: the {side} is not an event of the topic: {json.dumps(told)[:400]} / {event}')
            for row in ('before', 'after') if event else ():
                if self.texts(told.get(row)) != self.texts(event[row]):
                    self.fault(f'{where}: another `{row}` of the {side}: {told.get(row)} / {event[row]}')

    @staticmethod
    def texts(row):
        return row and {k: text_of(v) for k, v in row.items()}

    def report(self, most=12):
        return f'{len(self.faults)} faults\n' + '\n'.join(self.faults[:most])
