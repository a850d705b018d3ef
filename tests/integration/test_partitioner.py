#!/usr/bin/env python3
"""One key, one partition, whoever writes: kcat, Python's confluent-kafka and Kafka's Java client against a broker.

What lockstep computes comes from the unit test program of the partitioner: with a number of partitions it reads keys,
one a line, and prints a partition for each. It is found beside LS_BIN, or given as the only argument.

  LS_TEST_KAFKA=host:port [LS_KAFKA_JARS=dir] test_partitioner.py [PROGRAM]
Exits 77 with a reason when the broker is not given.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import uuid

PARTITIONS = 6
JAVA = """
import java.util.*; import java.nio.file.*; import java.nio.charset.StandardCharsets;
import org.apache.kafka.clients.producer.*; import org.apache.kafka.common.serialization.StringSerializer;
public class Publish {
    public static void main(String[] a) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", a[0]);
        try (Producer<String, String> out = new KafkaProducer<>(p, new StringSerializer(), new StringSerializer())) {
            for (String key : Files.readAllLines(Path.of(a[2]), StandardCharsets.UTF_8))
                System.out.println(out.send(new ProducerRecord<>(a[1], key, "java")).get().partition());
        }
    }
}
"""


def keys():
    texts = [str(i) for i in range(300)] + ["%08x-0000-4000-8000-%012x" % (i * 2654435761 % 2**32, i) for i in range(200)]
    return texts + ["contact", "a" * 200, "Zoë", "日本語", '["7","a"]', "x y", "ünï-%d" % 5, "🙂"]


def by_python(server, topic, texts):
    from confluent_kafka import Producer

    partition = {}

    def acknowledged(error, message):
        assert error is None, error
        partition[message.key().decode()] = message.partition()

    producer = Producer({"bootstrap.servers": server, "partitioner": "murmur2_random"})
    for text in texts:
        producer.produce(topic, key=text.encode(), value=b"python", on_delivery=acknowledged)
    assert producer.flush(30) == 0
    return [partition[text] for text in texts]


def by_kcat(server, topic, file):
    """kcat does not print where a message went: its messages are read back."""
    subprocess.run(["kcat", "-b", server, "-t", topic, "-P", "-K", "\t", "-X", "topic.partitioner=murmur2_random"],
                   input="".join(f"{k}\tkcat\n" for k in file).encode(), check=True, timeout=60)
    out = subprocess.run(["kcat", "-b", server, "-t", topic, "-C", "-e", "-q", "-f", "%p\t%k\t%s\n"],
                         capture_output=True, check=True, timeout=60).stdout.decode()
    partition = {}
    for line in out.splitlines():
        number, key, value = line.split("\t")
        if value == "kcat":
            partition[key] = int(number)
    return [partition[text] for text in file]


def by_java(server, topic, texts, jars):
    with tempfile.TemporaryDirectory() as folder:
        source, list_file = pathlib.Path(folder, "Publish.java"), pathlib.Path(folder, "keys")
        source.write_text(JAVA)
        list_file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        out = subprocess.run(["java", "-cp", f"{jars}/*", str(source), server, topic, str(list_file)],
                             capture_output=True, check=True, timeout=120).stdout.decode()
    return [int(line) for line in out.splitlines() if line.strip().isdigit()]


def program():
    root = pathlib.Path(__file__).resolve().parents[2]
    binary = pathlib.Path(os.environ.get("LS_BIN", root / "build/dev/lockstep"))
    return sys.argv[1] if len(sys.argv) > 1 else str(binary.parent / "tests/unit_test_kafka_partition")


def installed_jars():
    """Where compose/stack keeps Kafka."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "lockstep")
    return next((str(folder) for folder in sorted(cache.glob("kafka-*/libs"))), "")


def main():
    server = os.environ.get("LS_TEST_KAFKA")
    if not server:
        print("skipped: LS_TEST_KAFKA does not name a broker")
        return 77
    from confluent_kafka.admin import AdminClient, NewTopic

    texts, topic = keys(), f"partitioner-test-{uuid.uuid4().hex[:8]}"
    ours = subprocess.run([program(), str(PARTITIONS)], input="\n".join(texts) + "\n", text=True, encoding="utf-8",
                          capture_output=True, check=True, timeout=60).stdout.split()
    ours = [int(number) for number in ours]
    assert len(ours) == len(texts) and set(ours) == set(range(PARTITIONS)), "lockstep's own partitions"
    admin = AdminClient({"bootstrap.servers": server})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    failed = 0
    try:
        jars = os.environ.get("LS_KAFKA_JARS") or installed_jars()
        clients = {"python": lambda: by_python(server, topic, texts)}
        if shutil.which("kcat"):
            clients["kcat"] = lambda: by_kcat(server, topic, texts)
        if shutil.which("java") and list(pathlib.Path(jars or "/nowhere").glob("kafka-clients-*.jar")):
            clients["java"] = lambda: by_java(server, topic, texts, jars)
        for name in ("kcat", "java"):
            if name not in clients:
                print(f"{name}: not installed, not compared")
        for name, ask in clients.items():
            theirs = ask()
            wrong = [(k, a, b) for k, a, b in zip(texts, ours, theirs) if a != b]
            failed += bool(wrong) or len(theirs) != len(texts)
            print(f"{name}: {len(theirs)} keys, {len(wrong)} on another partition {wrong[:3] if wrong else ''}")
    finally:
        admin.delete_topics([topic])[topic].result(30)
    print(f"{len(clients) - failed} passed, {failed} failed, {3 - len(clients)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
