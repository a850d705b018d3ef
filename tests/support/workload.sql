-- The mixed work that suites do on a source: table contacts, and a procedure that changes it in many ways.
-- rev comes from one sequence: of two states of one contact, the later has the greater rev.
create sequence revs cache 1;
create table contacts (
	id bigint primary key,
	name text not null,
	email text,
	stage text not null default 'lead',
	score numeric(12, 2),
	tags text[],
	detail jsonb,
	-- large and kept out of line: an update that leaves it alone does not send it
	notes text,
	rev bigint not null default nextval('revs'),
	updated_at timestamptz not null default clock_timestamp());
alter table contacts alter column notes set storage external;
create sequence ids;

create function new_contact(big boolean) returns void language sql as $$
	insert into contacts (id, name, email, score, tags, detail, notes)
	select i, 'Contact ' || i, case when i % 7 > 0 then 'c' || i || '@example.com' end, (i % 100000) / 8.0,
		case when i % 5 > 0 then array['tag ' || i % 13, null, 'x,"y"\z'] end, jsonb_build_object('n', i, 's', E'a\nb\tc'),
		case when big then repeat('0123456789abcdef' || i, 200) else 'note ' || i end
	from nextval('ids') i $$;

create procedure fill(n int) language plpgsql as $$ begin
	for batch in 0 .. (n - 1) / 500 loop
		perform new_contact(g % 20 = 0) from generate_series(batch * 500 + 1, least(n, (batch + 1) * 500)) g;
		commit;
	end loop;
end $$;

-- One change of a random contact. roll decides the kind.
create procedure change(roll float) language plpgsql as $$
declare top bigint; victim bigint; begin
	select last_value into top from ids;
	select id into victim from contacts where id >= 1 + floor(random() * top) order by id limit 1;
	if roll < 0.20 or victim is null then perform new_contact(roll < 0.02);
	elsif roll < 0.60 then update contacts set score = coalesce(score, 0) + 1, stage = 'customer', rev = nextval('revs'), updated_at = clock_timestamp() where id = victim;
	elsif roll < 0.70 then update contacts set notes = repeat('fedcba9876543210' || victim, 250), rev = nextval('revs'), updated_at = clock_timestamp() where id = victim;
	elsif roll < 0.80 then update contacts set email = null, tags = '{}', detail = detail || '{"touched": true}', rev = nextval('revs'), updated_at = clock_timestamp() where id = victim;
	elsif roll < 0.85 then update contacts set id = nextval('ids'), rev = nextval('revs'), updated_at = clock_timestamp() where id = victim;
	else delete from contacts where id = victim;
	end if;
end $$;

-- n changes in transactions of 1 to `most` changes; one in twenty is rolled back, one in ten has a savepoint that is.
create procedure work(n int, seed float, most int default 200) language plpgsql as $$
declare done int := 0; size int; begin
	perform setseed(seed);
	while done < n loop
		size := least(n - done, 1 + floor(random() ^ 3 * most)::int);
		for i in 1 .. size loop call change(random()); end loop;
		if random() < 0.10 then
			begin
				call change(random());
				raise exception 'rolled back to the savepoint';
			exception when raise_exception then null;
			end;
		end if;
		if random() < 0.05 then rollback; else commit; end if;
		done := done + size;
		perform setseed(seed + done / 1e9);
	end loop;
end $$;
