/* Types: what comes is what PostgreSQL itself prints for the column under the canonical settings. */
#include "source_world.h"

static const char all_types[] =
	"CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN posint AS int CHECK (VALUE > 0);"
	"CREATE DOMAIN smallpos AS posint; CREATE TABLE types (id bigint PRIMARY KEY, a smallint, b int, c real, d "
	"double "
	"precision, e numeric, f numeric(10,2), g boolean, h uuid, i json, j jsonb, k bytea, l date, m time, n "
	"timestamp, o "
	"timestamptz, p interval, q int[], r text[], s mood, t smallpos, u int4range, v inet, w char(3), x varchar(5), "
	"y "
	"numeric[], z timetz)";
static const char type_rows[] =
	"INSERT INTO types VALUES (1, -5, 7, 0.1, 1e300, 'NaN', 12.30, true, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', "
	"'{\"a\" : 1}', '{\"a\" : 1}', '\\x00ff', '0044-03-15 BC', '24:00', 'infinity', '2026-11-21 10:00:00.5+02', '1 "
	"day 2 "
	"hours', '{1,NULL,3}', '{\"a b\",\"c\\\"d\",NULL}', 'glad', 4, '[1,5)', '10.0.0.1/8', 'ab', 'xyz', "
	"'{1.50,NaN}', '10:00+02'), (2, NULL, NULL, 'NaN', '-Infinity', 12345678901234567890.123456789, -0.01, false, "
	"NULL, "
	"'null', '\"tab\\tline\\nback\\\\slash\"', '', 'infinity', '00:00', '0001-01-01 00:00:00 BC', '-infinity', '-3 "
	"mons', "
	"'{}', '{}', 'sad', 1, 'empty', '::1', '', E'\\t\\n\\\\', '{}', '00:00-12')";

static void types(struct world *world)
{
	world_sql(world, all_types);
	world_table(world, "typed", "types", "id", NULL);
}

/* printed asks PostgreSQL for the row as text: the very line that is expected. */
static char *printed(struct world *world, const char *change, int id)
{
	char sql[3000];

	(void)snprintf(
		sql, sizeof(sql),
		"SELECT '%s typed %d' || (SELECT string_agg(' ' || a.attname || '=' || coalesce((SELECT x.v "
		"FROM (SELECT "
		"row_number() OVER () n, v FROM "
		"unnest(ARRAY[t.id::text,a::text,b::text,c::text,d::text,e::text,f::text,"
		"CASE WHEN g THEN 't' ELSE 'f' END,h::text,"
		"i::text,j::text,k::text,l::text,m::text,n::text,o::text,p::text,q::text,r::text,s::text,t.t::"
		"text,u::text,"
		"format('%%s',v),rpad(w, 3),x::text,y::text,z::text]) v) x WHERE x.n = a.attnum), '!'), '' ORDER BY "
		"attnum) FROM "
		"pg_attribute a WHERE attrelid = 'types'::regclass AND attnum > 0) FROM types t WHERE id = %d",
		change, id, id);
	return world_ask(world, sql);
}

static void every_type_comes_as_postgresql_prints_it(void **state)
{
	struct world *world = *state;
	char *one, *two;

	types(world);
	world_open(world);
	world_sql(world, type_rows);
	world_until(world, 2);

	one = printed(world, "INSERT", 1);
	two = printed(world, "INSERT", 2);
	world_line(world, 0, one);
	world_line(world, 1, two);
	free(one);
	free(two);
}

static void every_type_comes_the_same_from_a_snapshot(void **state)
{
	struct world *world = *state;
	char *one, *two;

	types(world);
	world_sql(world, type_rows);
	world->context.snapshot = true;
	world_open(world);
	world_until(world, 2);

	one = printed(world, "SNAPSHOT", 1);
	two = printed(world, "SNAPSHOT", 2);
	world_line(world, 0, one);
	world_line(world, 1, two);
	free(one);
	free(two);
}

static void types_have_their_neutral_kinds(void **state)
{
	struct world *world = *state;
	static const struct {
		const char *name;
		enum ls_kind kind;
	} expected[] = { { "id", LS_INT64 }, { "a", LS_INT32 },       { "e", LS_NUMERIC }, { "f", LS_DECIMAL },
			 { "j", LS_JSON },   { "o", LS_TIMESTAMPTZ }, { "q", LS_ARRAY },   { "s", LS_STRING },
			 { "t", LS_INT32 },  { "u", LS_STRING },      { "v", LS_STRING },  { "y", LS_ARRAY } };

	types(world);
	world_open(world);
	world_sql(world, type_rows);
	world_until(world, 2);

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		const struct ls_schema *schema = world->seen[0].schema;
		size_t at = ls_schema_find(schema, ls_str_of(expected[i].name));

		assert_true(at < schema->count);
		if (schema->column[at].type.kind != expected[i].kind)
			fail_msg("column %s is of kind %d", expected[i].name, (int)schema->column[at].type.kind);
	}
}

#define T(test) cmocka_unit_test_setup_teardown(test, world_contacts, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_type_comes_as_postgresql_prints_it),
		T(every_type_comes_the_same_from_a_snapshot),
		T(types_have_their_neutral_kinds),
	};

	if (!getenv("LS_TEST_PG")) {
		printf("skipped: LS_TEST_PG is not set (the URL of a superuser on a server with wal_level=logical)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
