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

typedef __m128i Block;

/*
 * Remainders of x^(n + 32) and x^(n - 32) with their bits in reverse, one bit
 * longer, where n is the distance in bits between the blocks: 512 or 128, and
 * of x^64 for the last one.
 */
#define X_544	0x154442bd4LL
#define X_480	0x1c6e41596LL
#define X_160	0x1751997d0LL
#define X_96	0x0ccaa009eLL
#define X_64	0x163cd6124LL

/* The polynomial, and what x^64 divided by it is; likewise in reverse. */
#define POLYNOMIAL	0x1db710641LL
#define QUOTIENT	0x1f7011641LL

/* One block moved onto another, as far away as the factors are made for. */
__attribute__((target("pclmul,sse2")))
static inline Block
fold(Block block, Block factors, Block onto)
{
	return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(block, factors, 0x00),
									   _mm_clmulepi64_si128(block, factors, 0x11)),
						 onto);
}

__attribute__((target("pclmul,sse2")))
static inline Block
load_block(const uint8_t *data)
{
	return _mm_loadu_si128((const Block *) data);
}

/* Fold four blocks at a time, which do not wait for each other; onto the last. */
__attribute__((target("pclmul,sse2")))
static Block
fold_lanes(Block first, const uint8_t **data, const uint8_t *end)
{
	const Block far = _mm_set_epi64x(X_480, X_544);
	const Block near = _mm_set_epi64x(X_96, X_160);
	const uint8_t *next = *data + LANES_BYTES;
	Block		lanes[LANES] = {first};

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

/*
 * The remainder of one block: of 128 bits 96 are left, then 64, and of these
 * the quotient is estimated and its product taken away (Barrett).
 */
__attribute__((target("pclmul,sse2")))
static uint32_t
remainder_of(Block block)
{
	const Block near = _mm_set_epi64x(X_96, X_160);
	const Block nearer = _mm_set_epi64x(0, X_64);
	const Block divisor = _mm_set_epi64x(QUOTIENT, POLYNOMIAL);
	const Block low = _mm_set_epi32(0, -1, 0, -1);
	Block		product;

	block = _mm_xor_si128(_mm_clmulepi64_si128(block, near, 0x10), _mm_srli_si128(block, 8));
	product = _mm_clmulepi64_si128(_mm_and_si128(block, low), nearer, 0x00);
	block = _mm_xor_si128(product, _mm_srli_si128(block, 4));
	product = _mm_clmulepi64_si128(_mm_and_si128(block, low), divisor, 0x10);
	product = _mm_clmulepi64_si128(_mm_and_si128(product, low), divisor, 0x00);
	return (uint32_t) _mm_cvtsi128_si32(_mm_srli_si128(_mm_xor_si128(block, product), 4));
}

/* Zeros in front change nothing, so the odd bytes are put behind some. */
__attribute__((target("pclmul,sse2")))
static uint32_t
crc_by_folding(const uint8_t *data, size_t length)
{
	const Block near = _mm_set_epi64x(X_96, X_160);
	const uint8_t *end = data + length;
	size_t		odd = length % BLOCK_BYTES;
	uint8_t		first[BLOCK_BYTES * 2] = {0};
	uint8_t    *start = first + BLOCK_BYTES - odd;
	Block		block;

	memcpy(start, data, BLOCK_BYTES + odd);
	for (int i = 0; i < 4; i++)
		start[i] ^= 0xFF;
	block = load_block(first + BLOCK_BYTES);
	if (odd > 0)
		block = fold(load_block(first), near, block);
	data += odd;
	if (end - data >= LANES_BYTES)
		block = fold_lanes(block, &data, end);
	for (data += BLOCK_BYTES; data < end; data += BLOCK_BYTES)
		block = fold(block, near, load_block(data));
	return ~remainder_of(block);
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
