/*-------------------------------------------------------------------------
 *
 * test/unit/server_shim.h
 *	  As much of a server as connectors/common needs where it touches no
 *	  types: memory by malloc(), errors that are caught.
 *
 * To be included once in a program.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SERVER_SHIM_H
#define SERVER_SHIM_H

#include "postgres.h"

#include <setjmp.h>
#undef printf
#undef snprintf
#undef vprintf
#undef vsnprintf
#undef fprintf

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

MemoryContext CurrentMemoryContext = NULL;
sigjmp_buf *PG_exception_stack = NULL;
ErrorContextCallback *error_context_stack = NULL;

/* The error that was raised last. */
static int	shim_sqlstate;
static char shim_message[512];

/* All that was allocated: contexts are not told apart. */
static void **shim_chunks;
static size_t shim_nchunks;

static void *
shim_keep(void *chunk)
{
	shim_chunks = realloc(shim_chunks, sizeof(void *) * (shim_nchunks + 1));
	shim_chunks[shim_nchunks++] = chunk;
	return chunk;
}

/* Free everything; what was made before is gone. */
static void
shim_reset(void)
{
	for (size_t i = 0; i < shim_nchunks; i++)
		free(shim_chunks[i]);
	free(shim_chunks);
	shim_chunks = NULL;
	shim_nchunks = 0;
}

void *
palloc(Size size)
{
	return shim_keep(malloc(size ? size : 1));
}

void *
palloc0(Size size)
{
	return shim_keep(calloc(1, size ? size : 1));
}

void
pfree(void *pointer)
{
	for (size_t i = shim_nchunks; i-- > 0;)
	{
		if (shim_chunks[i] == pointer)
		{
			shim_chunks[i] = shim_chunks[--shim_nchunks];
			break;
		}
	}
	free(pointer);
}

void *
repalloc(void *pointer, Size size)
{
	for (size_t i = shim_nchunks; i-- > 0;)
	{
		if (shim_chunks[i] == pointer)
			return shim_chunks[i] = realloc(pointer, size);
	}
	abort();
}

void *
MemoryContextAllocHuge(MemoryContext context, Size size)
{
	return palloc(size);
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size minimum,
							  Size initial, Size maximum)
{
	return NULL;
}

void
MemoryContextDelete(MemoryContext context)
{
}

bool
errstart(int elevel, const char *domain)
{
	shim_sqlstate = 0;
	shim_message[0] = '\0';
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

int
errcode(int sqlerrcode)
{
	shim_sqlstate = sqlerrcode;
	return 0;
}

int
errmsg(const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	vsnprintf(shim_message, sizeof(shim_message), format, arguments);
	va_end(arguments);
	return 0;
}

int
errdetail(const char *format,...)
{
	return 0;
}

int
errhint(const char *format,...)
{
	return 0;
}

void
errfinish(const char *file, int line, const char *function)
{
	if (PG_exception_stack == NULL)
		abort();
	siglongjmp(*PG_exception_stack, 1);
}

void
FlushErrorState(void)
{
}

void
pg_re_throw(void)
{
	siglongjmp(*PG_exception_stack, 1);
}

void
#if PG_VERSION_NUM >= 160000
ExceptionalCondition(const char *condition, const char *file, int line)
#else
ExceptionalCondition(const char *condition, const char *type, const char *file, int line)
#endif
{
	abort();
}

void
pg_unicode_to_server(pg_wchar c, unsigned char *s)
{
	int			length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (int i = length - 1; i > 0; i--)
	{
		s[i] = 0x80 | (c & 0x3f);
		c >>= 6;
	}
	s[0] = length == 1 ? c : ((0xf00 >> length) & 0xff) | c;
	s[length] = '\0';
}

#endif							/* SERVER_SHIM_H */
