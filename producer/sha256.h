/* SHA-256 (FIPS 180-4), for masking values. Not for secrets: it makes no promise about timing. */
#pragma once

#include "lockstep/str.h"

enum { LS_SHA256_HEX = 64 };

/* ls_sha256_hex writes the digest of text as 64 lower-case hex digits and a terminator into out. */
void ls_sha256_hex(struct ls_str text, char out[LS_SHA256_HEX + 1]);
