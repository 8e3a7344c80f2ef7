/*-------------------------------------------------------------------------
 *
 * connectors/mysql/binlog_crc.c
 *	  The checksum of events.
 *
 * NOTES
 *	  Each small transaction is several events, so that computing their
 *	  checksums byte by byte is a good part of reading them.  A processor that
 *	  multiplies without carry does 16 bytes at once.  CRC is a remainder of
 *	  polynomials: what is x * 2^n bits before the end counts as x times the
 *	  remainder of 2^n there, so that blocks can be folded onto later ones.
 *	  The block that is left at the end has the checksum of all of them.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>
#include <zlib.h>

#include "binlog_private.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define FOLDS_BLOCKS
#include <immintrin.h>
#endif

#ifdef FOLDS_BLOCKS

#define BLOCK_BYTES		16
#define LANES			4

#define LANES_BYTES		(BLOCK_BYTES * LANES)

/*
 * Remainders of x^(n + 32) and x^(n - 32) with their bits in reverse, one bit
 * longer, where n is the distance in bits between the blocks: 512 or 128.
 */
#define X_544	0x154442bd4LL
#define X_480	0x1c6e41596LL
#define X_160	0x1751997d0LL
#define X_96	0x0ccaa009eLL

/* One block moved onto another, as far away as the factors are made for. */
__attribute__((target("pclmul,sse2")))
static inline __m128i
fold(__m128i block, __m128i factors, __m128i onto)
{
	return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(block, factors, 0x00),
									   _mm_clmulepi64_si128(block, factors, 0x11)),
						 onto);
}

__attribute__((target("pclmul,sse2")))
static inline __m128i
load_block(const uint8_t *data)
{
	return _mm_loadu_si128((const __m128i *) data);
}

/* Fold four blocks at a time, which do not wait for each other; onto the last. */
__attribute__((target("pclmul,sse2")))
static __m128i
fold_lanes(__m128i first, const uint8_t **data, const uint8_t *end)
{
	const __m128i far = _mm_set_epi64x(X_480, X_544);
	const __m128i near = _mm_set_epi64x(X_96, X_160);
	const uint8_t *next = *data + LANES_BYTES;
	__m128i		lanes[LANES] = {first};

	for (int i = 1; i < LANES; i++)
		lanes[i] = load_block(*data + BLOCK_BYTES * i);
	for (; end - next >= LANES_BYTES; next += LANES_BYTES)
	{
		for (int i = 0; i < LANES; i++)
			lanes[i] = fold(lanes[i], far, load_block(next + BLOCK_BYTES * i));
	}
	for (int i = 1; i < LANES; i++)
		lanes[0] = fold(lanes[0], near, lanes[i]);
	*data = next - BLOCK_BYTES;
	return lanes[0];
}

__attribute__((target("pclmul,sse2")))
static uint32_t
crc_by_folding(const uint8_t *data, size_t length)
{
	const __m128i near = _mm_set_epi64x(X_96, X_160);
	const uint8_t *end = data + length;
	uint8_t		rest[BLOCK_BYTES * 2];
	__m128i		block = _mm_xor_si128(load_block(data), _mm_cvtsi32_si128(-1));

	if (length >= LANES_BYTES)
		block = fold_lanes(block, &data, end);
	for (data += BLOCK_BYTES; end - data >= BLOCK_BYTES; data += BLOCK_BYTES)
		block = fold(block, near, load_block(data));

	/* zlib begins with all bits set, which the first block has had already */
	_mm_storeu_si128((__m128i *) rest, block);
	memcpy(rest + BLOCK_BYTES, data, end - data);
	return (uint32_t) crc32(0xFFFFFFFF, rest, (uInt) (BLOCK_BYTES + (end - data)));
}

static bool
can_fold(void)
{
	static int	can = -1;

	if (can < 0)
	{
		__builtin_cpu_init();
		can = __builtin_cpu_supports("pclmul") ? 1 : 0;
	}
	return can == 1;
}

#endif							/* FOLDS_BLOCKS */

uint32_t
tap_binlog_crc(const uint8_t *data, size_t length)
{
#ifdef FOLDS_BLOCKS
	if (length >= BLOCK_BYTES && can_fold())
		return crc_by_folding(data, length);
#endif
	return (uint32_t) crc32(0, data, (uInt) length);
}
