/* Which partition a key goes to: murmur2 as Kafka's Java clients compute it, so that every language agrees. */
#include "kafka/client.h"

/* The 32-bit MurmurHash2 by Austin Appleby (public domain), with the seed that Java's producers use. */
static uint32_t murmur2(const unsigned char *bytes, size_t len)
{
	const uint32_t mix = 0x5bd1e995;
	uint32_t hash = 0x9747b28cu ^ (uint32_t)len;

	for (; len >= 4; bytes += 4, len -= 4) {
		uint32_t word = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
				(uint32_t)bytes[3] << 24;

		word *= mix;
		word ^= word >> 24;
		word *= mix;
		hash = hash * mix ^ word;
	}
	for (size_t i = len; i-- > 0;)
		hash ^= (uint32_t)bytes[i] << (8 * i);
	if (len)
		hash *= mix;
	hash ^= hash >> 13;
	hash *= mix;
	return hash ^ hash >> 15;
}

int32_t ls_kafka_partition_of(struct ls_str key, int32_t partitions)
{
	uint32_t hash = murmur2((const unsigned char *)key.ptr, key.len);

	/* Java clears the sign bit rather than taking the absolute value. */
	return partitions > 0 ? (int32_t)(hash & 0x7fffffffu) % partitions : 0;
}
