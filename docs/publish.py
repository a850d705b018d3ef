#!/usr/bin/env python3
"""Publishes one contact to lockstep, as any program in any language may. docs/publishing.md shows this file.

  publish.py [BOOTSTRAP_SERVERS PREFIX ENTITY_ID NAME EMAIL]
"""
import io, json, sys, time, uuid
import fastavro
from confluent_kafka import Producer

SCHEMA = {"type": "record", "name": "ChangeEvent", "namespace": "shop.contact", "fields": [
    {"name": "event_id", "type": "string"}, {"name": "source", "type": "string"},
    {"name": "entity_type", "type": "string"}, {"name": "entity_id", "type": "string"},
    {"name": "change_type", "type": {"type": "enum", "name": "ChangeType", "symbols": ["INSERT", "UPDATE", "DELETE", "SNAPSHOT"]}},
    {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "after", "default": None, "type": ["null", {"type": "record", "name": "Row", "fields": [
        {"name": "id", "type": "string"}, {"name": "name", "type": ["null", "string"]}, {"name": "email", "type": ["null", "string"]}]}]}]}


def publish(servers, prefix, entity_id, name, email):
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random", "enable.idempotence": True})
    fingerprint = fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO")
    producer.produce(f"{prefix}.schemas", key=fingerprint, value=json.dumps(SCHEMA), headers={"subject": f"{prefix}.contact-value"})
    datum = io.BytesIO()
    fastavro.schemaless_writer(datum, fastavro.parse_schema(SCHEMA), {
        "event_id": str(uuid.uuid4()), "source": "shop", "entity_type": "contact", "entity_id": entity_id,
        "change_type": "UPDATE", "timestamp": time.time_ns() // 1000, "after": {"id": entity_id, "name": name, "email": email}})
    failed = []
    producer.produce(f"{prefix}.contact", key=entity_id, value=b"\xc3\x01" + bytes.fromhex(fingerprint) + datum.getvalue(),
                     on_delivery=lambda error, message: failed.append(error) if error else None)
    return producer.flush(30) == 0 and not failed


if __name__ == "__main__":
    sys.exit(0 if publish(*(sys.argv[1:] or ["localhost:9092", "lockstep", "4711", "Ada Lovelace", "ada@example.com"])) else 1)
