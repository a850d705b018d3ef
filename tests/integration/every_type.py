"""Every common type of PostgreSQL arrives as it was, through the snapshot and through the log."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main

# Column type -> values written as SQL literals of that type.
TYPES = {
    'smallint': ['-32768', '0', '32767'], 'integer': ['-2147483648', '2147483647'], 'bigint': ['-9223372036854775808', '9223372036854775807'],
    'real': ['1.1', "'NaN'", "'Infinity'", "'-Infinity'", '3.4028235e38', '1e-45', "'-0'"],
    'double precision': ['0.1', "'NaN'", "'-Infinity'", '1.7976931348623157e308', '5e-324', '0.30000000000000004'],
    'numeric': ['0', "'NaN'", '123456789012345678901234567890.123456789012345678901234567890', '-0.0000000000000000000000000000001', '1e200', '1.50', '100'],
    'numeric(10,2)': ['0.00', '-12345678.90', "'NaN'", '99999999.99'], 'numeric(38,0)': ['12345678901234567890123456789012345678', '-1'],
    'text': ["''", "E'line\\nbreak\\ttab\\\\back'", "'Ünïcödé 漢字 😀'", "repeat('x', 20000)", "'NULL'", "'\\N'"], 'varchar(20)': ["'short'", "''"], 'char(5)': ["'ab'"],
    'boolean': ['true', 'false'], 'uuid': ["'0192f0c1-2345-7abc-8def-0123456789ab'"],
    'json': ["""'{"b": 1,  "a": [1, 2.50, null, "x"]}'""", "'null'", "'\"text\"'"], 'jsonb': ["""'{"b": 1, "a": {"c": 1e100, "d": "\\u00fc\\n"}}'""", "'[]'", "'12345678901234567890.10'"],
    'bytea': ["''", "'\\x00ff10ab'", "decode(repeat('00ff', 5000), 'hex')"],
    'date': ["'2024-02-29'", "'0044-03-15 BC'", "'infinity'", "'-infinity'", "'9999-12-31'", "'20000-01-01'"],
    'time': ["'00:00:00'", "'23:59:59.999999'", "'24:00:00'"], 'timetz': ["'12:34:56.789012+05:30'", "'00:00:00-11'"],
    'timestamp': ["'2024-02-29 12:34:56.789012'", "'infinity'", "'-infinity'", "'0044-03-15 00:00:00 BC'", "'1970-01-01 00:00:00'", "'1969-12-31 23:59:59.999999'", "'20000-01-01 00:00:00'"],
    'timestamptz': ["'2024-02-29 12:34:56.789012+05:30'", "'infinity'", "'-infinity'", "'0044-03-15 00:00:00+00 BC'", "'1900-01-01 00:00:00+00:17:30'"],
    'interval': ["'1 year 2 months 3 days 04:05:06.789'", "'-1 month +1 day -00:00:00.000001'", "'0'"],
    'integer[]': ["'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'[2:4]={1,2,3}'"], 'text[]': ["""'{"a,b","c\\"d","e\\\\f",NULL,"NULL",""}'""", "'{Ü}'"],
    'numeric(8,3)[]': ["'{1.500,NULL,NaN}'"], 'timestamptz[]': ["""'{"2024-01-01 00:00:00+00",infinity}'"""], 'uuid[]': ["'{0192f0c1-2345-7abc-8def-0123456789ab}'"], 'bytea[]': ["""'{"\\\\x00ff",NULL}'"""],
    'boolean[]': ["'{t,f,NULL}'"], 'jsonb[]': ["""'{"{\\"a\\": 1}",NULL}'"""],
    'mood': ["'happy'", "'so ''so'''"], 'mood[]': ["'{happy,NULL}'"], 'positive': ['1', '2147483647'], 'email': ["'a@b.c'"],
    'int4range': ["'[1,10)'", "'empty'", "'(,)'"], 'numrange': ["'[1.50,2.5]'"], 'tstzrange': ["""'["2024-01-01 00:00:00+00",)'"""], 'daterange': ["'[2024-01-01,2024-02-01)'"], 'int4multirange': ["'{[1,3),[5,8)}'"],
    'inet': ["'192.168.1.0/24'", "'::1'", "'10.0.0.1'"], 'cidr': ["'10.0.0.0/8'", "'2001:db8::/32'"], 'macaddr': ["'08:00:2b:01:02:03'"], 'bit(3)': ["B'101'"], 'varbit': ["B'10110'"],
    'money': ["'12.34'"], 'point': ["'(1.5,-2)'"], 'box': ["'(2,2),(1,1)'"], 'tsvector': ["'''a'':1 ''b'':2'"], 'xml': ["'<a>b</a>'"], 'oid': ['4294967295'], 'pg_lsn': ["'16/B374D848'"], 'composite': ["'(1,\"a,b\")'"],
}


class Types(Scenario):
    def test_every_type_arrives_as_it_was(self):
        w = self.world
        names = {t: f'c{i}' for i, t in enumerate(TYPES)}
        for db in (w.source, w.destination):
            db.sql("create type mood as enum ('happy', 'so ''so''')")
            db.sql("create domain positive as integer check (value > 0)")
            db.sql("create domain email as text check (value like '%@%')")
            db.sql('create type composite as (a int, b text)')
            db.sql(f"create table contacts (id bigint primary key, {', '.join(f'{names[t]} {t}' for t in TYPES)})")
        w.source.sql('alter table contacts replica identity full')
        w.configure()
        half = [(t, v) for t in TYPES for v in TYPES[t]]
        for i, (t, v) in enumerate(half):
            w.source.sql(f'insert into contacts (id, {names[t]}) values ({i}, ({v})::{t})')
        w.start('run', '--skip-check', wait=True)
        for i, (t, v) in enumerate(half):
            w.source.sql(f'insert into contacts (id, {names[t]}) values ({1000 + i}, ({v})::{t})')
        for t in TYPES:
            w.source.sql(f'insert into contacts (id, {names[t]}) values ({2000 + list(TYPES).index(t)}, ({TYPES[t][0]})::{t})')
            w.source.sql(f'update contacts set {names[t]} = ({TYPES[t][-1]})::{t} where id = {2000 + list(TYPES).index(t)}')
            w.source.sql(f'update contacts set {names[t]} = null where id = {1000 + list(TYPES).index(t)}')
        w.settle()
        letters = [(m.key(), m.headers()) for m in w.dead() + w.dead(source='crm')]
        self.assertEqual(letters[:3], [])
        wrong = []
        for t in TYPES:
            rows = [dict(db.sql(f'select id, {names[t]}::text from contacts')) for db in (w.source, w.destination)]
            wrong += [f'{t}, row {i}: {rows[0][i]!r} arrived as {rows[1].get(i)!r}'[:300] for i in rows[0] if rows[0][i] != rows[1].get(i)]
        self.assertEqual(wrong, [])
        self.assertIsNone(w.same('contacts'))

    def test_a_missing_table_is_created_with_the_sources_types(self):
        w = self.world
        w.source.sql("""create table contacts (id uuid primary key, n numeric(12,3), v varchar(40), at timestamptz, day date, tags text[], j jsonb, b bytea, f float8, ok boolean, i int, s smallint)""")
        w.source.sql("""insert into contacts values ('0192f0c1-2345-7abc-8def-0123456789ab', 1.5, 'x', now(), now(), '{a,b}', '{"a":1}', '\\x00', 0.1, true, 1, 2)""")
        w.configure()
        w.settings['destinations'][0]['on_missing_table'] = 'create'
        w.start('run', '--skip-check', wait=True)
        w.settle()
        kinds = [db.sql("""select attname, format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'contacts'::regclass and attnum > 0
            and not attisdropped order by attname""") for db in (w.source, w.destination)]
        self.assertEqual(kinds[1], kinds[0])
        self.assertIsNone(w.same('contacts'))

    def test_composite_keys_quoted_names_generated_columns_and_partitions(self):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create schema "Odd Schema"')
        w.source.sql("""create table "Odd Schema"."Odd.Table" ("a" int, "B c" text, "va""l" int, twice int generated always as ("va""l" * 2) stored, primary key ("a", "B c")) partition by range ("a")""")
        w.source.sql("""create table "Odd Schema".low partition of "Odd Schema"."Odd.Table" for values from (0) to (100)""")
        w.source.sql("""create table "Odd Schema".high partition of "Odd Schema"."Odd.Table" for values from (100) to (200)""")
        w.destination.sql("""create table "Odd Schema"."Odd.Table" ("a" int, "B c" text, "va""l" int, twice int generated always as ("va""l" * 2) stored, primary key ("a", "B c"))""")
        place = '"Odd Schema"."Odd.Table"'
        w.configure(tables=(place,), entity='odd', key=('a', 'B c'))
        w.start('run', '--skip-check', wait=True)
        w.source.sql(f"""insert into {place} ("a", "B c", "va""l") select i, 'k"' || i, i from generate_series(1, 150) i""")
        w.source.sql(f"""update {place} set "va""l" = 7 where "a" % 2 = 0""")
        w.source.sql(f"""update {place} set "B c" = 'moved' where "a" = 5""")
        w.source.sql(f"""update {place} set "a" = 199 where "a" = 6""")
        w.source.sql(f"""delete from {place} where "a" % 10 = 0""")
        w.settle('odd')
        self.assertIsNone(w.same(place, key=('a', 'B c')))
        self.assertIn('["5","moved"]', {e['_key'] for e in w.events('odd')})


main()
