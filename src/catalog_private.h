/*-------------------------------------------------------------------------
 *
 * src/catalog_private.h
 *	  How catalog*.c get at the tables.
 *
 * NOTES
 *	  Statements run with the rights of the tables' owner and a search_path of
 *	  pg_catalog alone, so that nothing of the caller's can take part in them.
 *	  All objects are named with their schema.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAPDATA_CATALOG_PRIVATE_H
#define TAPDATA_CATALOG_PRIVATE_H

#include "postgres.h"

#include "catalog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

/* A parameter of a statement. */
typedef struct TapParam
{
	Oid			type;
	Datum		value;
	bool		isnull;
} TapParam;

/* One use of the tables, between enter and leave. */
typedef struct TapCatalogCall
{
	Oid			user;			/* to go back to */
	int			security_context;	/* to go back to */
	int			guc_level;		/* 0: no setting was changed */
	MemoryContext caller;		/* where results belong */
} TapCatalogCall;

/* The number of parameters, and the parameters. */
#define TAP_PARAMS(...) \
	((int) (sizeof((TapParam[]){__VA_ARGS__}) / sizeof(TapParam))), \
	(TapParam[]){__VA_ARGS__}

extern TapParam tap_param_int4(int32 value);
extern TapParam tap_param_int8(int64 value);
extern TapParam tap_param_float8(double value);
extern TapParam tap_param_bool(bool value);
extern TapParam tap_param_char(char value);
extern TapParam tap_param_oid(Oid value);

/* These take NULL as SQL's null. */
extern TapParam tap_param_text(const char *value);
extern TapParam tap_param_name(const char *value);
extern TapParam tap_param_jsonb(Jsonb *value);
extern TapParam tap_param_texts(List *values);

extern void tap_catalog_enter(TapCatalogCall *call);
extern void tap_catalog_leave(TapCatalogCall *call);

/* Run a statement that writes or locks; returns SPI_processed. */
extern uint64 tap_catalog_write(const char *sql, int nparams, TapParam *params);

/* Run a query on the newest committed state; the rows are in SPI_tuptable. */
extern uint64 tap_catalog_read(const char *sql, int nparams, TapParam *params);

/*
 * A column of a row of SPI_tuptable, from 1; by-reference values are copied
 * to the current context.  text gives NULL for a null, the others zero.
 */
extern char *tap_column_text(uint64 row, int column);
extern int32 tap_column_int4(uint64 row, int column);
extern int64 tap_column_int8(uint64 row, int column);
extern bool tap_column_bool(uint64 row, int column);
extern char tap_column_char(uint64 row, int column);
extern Oid	tap_column_oid(uint64 row, int column);
extern double tap_column_float8(uint64 row, int column);
extern Jsonb *tap_column_jsonb(uint64 row, int column);
extern List *tap_column_texts(uint64 row, int column);

#endif							/* TAPDATA_CATALOG_PRIVATE_H */
