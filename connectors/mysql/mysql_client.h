/*-------------------------------------------------------------------------
 *
 * connectors/mysql/mysql_client.h
 *	  The client library's header without what clashes with PostgreSQL's.
 *
 * The library declares a list of its own whose functions, which it does not
 * export, have the names of PostgreSQL's.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_MYSQL_CLIENT_H
#define TAP_MYSQL_CLIENT_H

#define list_delete		ma_list_delete
#define list_free		ma_list_free
#define list_length		ma_list_length

#include <mysql.h>

#undef list_delete
#undef list_free
#undef list_length

#endif							/* TAP_MYSQL_CLIENT_H */
