/*-------------------------------------------------------------------------
 *
 * src/shmem.c
 *	  The live side of pipelines and tables in shared memory.
 *
 * Copyright (c) 2026, tapdata contributors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "guc.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "position.h"
#include "process.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#define LWLOCK_TRANCHE_NAME "tapdata"

TapShared  *tap_shared = NULL;

/* Counters of tables; under TapShared.lock. */
static HTAB *tables = NULL;

static shmem_request_hook_type previous_shmem_request_hook = NULL;
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;

static Size
arrays_size(void)
{
	Size		size = MAXALIGN(sizeof(TapShared));

	size = add_size(size, MAXALIGN(mul_size(tap_guc_max_pipelines,
											sizeof(TapPipelineShared))));
	size = add_size(size, MAXALIGN(mul_size(tap_process_max_databases(),
											sizeof(TapDatabaseShared))));
	size = add_size(size, MAXALIGN(mul_size(tap_process_max_processes(),
											sizeof(TapProcessShared))));
	size = add_size(size, MAXALIGN(mul_size(tap_guc_max_pipelines,
											sizeof(TapWalWaiter))));
	return size;
}

static void
shmem_request(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();

	RequestAddinShmemSpace(arrays_size());
	RequestAddinShmemSpace(hash_estimate_size(tap_guc_max_tables,
											  sizeof(TapTableShared)));
	RequestNamedLWLockTranche(LWLOCK_TRANCHE_NAME, 1);
}

/* Lay out and initialize the fixed part and the arrays. */
static void
initialize_arrays(void)
{
	char	   *next = (char *) tap_shared + MAXALIGN(sizeof(TapShared));

	memset(tap_shared, 0, arrays_size());
	tap_shared->lock = &GetNamedLWLockTranche(LWLOCK_TRANCHE_NAME)->lock;
	ConditionVariableInit(&tap_shared->process_gone);
	tap_shared->npipelines = tap_guc_max_pipelines;
	tap_shared->ndatabases = tap_process_max_databases();
	tap_shared->nprocesses = tap_process_max_processes();

	tap_shared->pipelines = (TapPipelineShared *) next;
	next += MAXALIGN(tap_shared->npipelines * sizeof(TapPipelineShared));
	tap_shared->databases = (TapDatabaseShared *) next;
	next += MAXALIGN(tap_shared->ndatabases * sizeof(TapDatabaseShared));
	tap_shared->processes = (TapProcessShared *) next;
	next += MAXALIGN(tap_shared->nprocesses * sizeof(TapProcessShared));
	tap_shared->waiters = (TapWalWaiter *) next;

	for (int i = 0; i < tap_shared->npipelines; i++)
	{
		SpinLockInit(&tap_shared->pipelines[i].mutex);
		ConditionVariableInit(&tap_shared->pipelines[i].moved);
	}
	pg_atomic_init_u32(&tap_shared->waiting, 0);
	for (int i = 0; i < tap_shared->npipelines; i++)
		pg_atomic_init_u32(&tap_shared->waiters[i].waiting, 0);
	for (int i = 0; i < tap_shared->ndatabases; i++)
		pg_atomic_init_u64(&tap_shared->databases[i].changes, 0);
}

static void
shmem_startup(void)
{
	HASHCTL		info = {0};
	bool		found;

	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	tap_shared = ShmemInitStruct("tapdata", arrays_size(), &found);
	if (!found)
		initialize_arrays();

	info.keysize = sizeof(((TapTableShared *) NULL)->key);
	info.entrysize = sizeof(TapTableShared);
	tables = ShmemInitHash("tapdata tables", tap_guc_max_tables,
						   tap_guc_max_tables, &info, HASH_ELEM | HASH_BLOBS);
	LWLockRelease(AddinShmemInitLock);
}

void
tap_shmem_install(void)
{
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

bool
tap_shmem_available(void)
{
	return tap_shared != NULL;
}

void
tap_shmem_require(void)
{
	if (!tap_shmem_available())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("tapdata must be loaded at server start"),
				 errhint("Add \"tapdata\" to shared_preload_libraries in postgresql.conf and restart the server.")));
}

/*
 * Make a free entry that of a pipeline.  The lock is held exclusively.
 */
static void
claim_pipeline(TapPipelineShared *entry, int32 pipeline)
{
	pg_atomic_uint64 *const counters[] = {
		&entry->rows_copied, &entry->rows_estimated, &entry->inserts,
		&entry->updates, &entry->deletes, &entry->transactions,
		&entry->bytes, &entry->restarts
	};

	for (int i = 0; i < lengthof(counters); i++)
		pg_atomic_init_u64(counters[i], 0);
	pg_atomic_init_u64(&entry->lag_bytes, PG_UINT64_MAX);

	SpinLockAcquire(&entry->mutex);
	entry->state = TAP_STATE_STOPPED;
	entry->worker_pid = 0;
	entry->worker_latch = NULL;
	entry->since = GetCurrentTimestamp();
	entry->last_commit_at = 0;
	entry->applied_at = 0;
	entry->behind = false;
	entry->behind_since = 0;
	entry->exit = TAP_EXIT_UNKNOWN;
	entry->exit_recorded = false;
	entry->exit_healthy = false;
	entry->exit_changes = 0;
	entry->internal_errors = 0;
	entry->internal_error_at = 0;
	entry->reached_position[0] = '\0';
	entry->position_is_stored = false;
	entry->source_position[0] = '\0';
	entry->last_error[0] = '\0';
	entry->delay[0] = '\0';
	entry->delayed_since = 0;
	entry->join_waiting = 0;
	entry->paused = false;
	entry->awaited_at = 0;
	SpinLockRelease(&entry->mutex);

	entry->database = MyDatabaseId;
	entry->pipeline = pipeline;
	entry->holds = 0;
	entry->in_use = true;
}

/*
 * The entry of the pipeline, or a free one in *free.  The lock is held.
 */
static TapPipelineShared *
find_pipeline(int32 pipeline, TapPipelineShared **free)
{
	*free = NULL;
	for (int i = 0; i < tap_shared->npipelines; i++)
	{
		TapPipelineShared *entry = &tap_shared->pipelines[i];

		if (!entry->in_use)
			*free = *free ? *free : entry;
		else if (entry->database == MyDatabaseId && entry->pipeline == pipeline)
			return entry;
	}
	return NULL;
}

TapPipelineShared *
tap_shmem_try_pipeline(int32 pipeline)
{
	TapPipelineShared *entry;
	TapPipelineShared *free;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry = find_pipeline(pipeline, &free);
	if (entry == NULL && free != NULL)
	{
		entry = free;
		claim_pipeline(entry, pipeline);
	}
	LWLockRelease(tap_shared->lock);
	return entry;
}

TapPipelineShared *
tap_shmem_pipeline(int32 pipeline, bool create)
{
	TapPipelineShared *entry;
	TapPipelineShared *free;

	if (tap_shared == NULL)
		return NULL;

	LWLockAcquire(tap_shared->lock, LW_SHARED);
	entry = find_pipeline(pipeline, &free);
	LWLockRelease(tap_shared->lock);
	if (entry != NULL || !create)
		return entry;

	entry = tap_shmem_try_pipeline(pipeline);
	if (entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many pipelines"),
				 errdetail("The server has room for %d pipelines.",
						   tap_shared->npipelines),
				 errhint("Raise tapdata.max_pipelines and restart the server.")));
	return entry;
}

TapTableShared *
tap_shmem_table(int32 table, bool create)
{
	TapTableShared *entry;
	TapTableShared key;
	bool		found = true;

	if (tap_shared == NULL)
		return NULL;

	memset(&key.key, 0, sizeof(key.key));
	key.key.database = MyDatabaseId;
	key.key.table = table;

	LWLockAcquire(tap_shared->lock, LW_SHARED);
	entry = hash_search(tables, &key.key, HASH_FIND, NULL);
	LWLockRelease(tap_shared->lock);
	if (entry != NULL || !create)
		return entry;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);

	/* A shared hash table grows beyond its size as long as memory is left. */
	if (hash_get_num_entries(tables) < tap_guc_max_tables)
		entry = hash_search(tables, &key.key, HASH_ENTER_NULL, &found);
	else
		entry = hash_search(tables, &key.key, HASH_FIND, NULL);
	if (entry != NULL && !found)
	{
		pg_atomic_init_u64(&entry->rows_copied, 0);
		pg_atomic_init_u64(&entry->rows_estimated, 0);
		pg_atomic_init_u64(&entry->inserts, 0);
		pg_atomic_init_u64(&entry->updates, 0);
		pg_atomic_init_u64(&entry->deletes, 0);
		pg_atomic_init_u64(&entry->truncates, 0);
	}
	LWLockRelease(tap_shared->lock);
	return entry;
}

/* Free an entry; who waits for it looks again.  The lock is held exclusively. */
static void
free_pipeline(TapPipelineShared *entry)
{
	entry->in_use = false;
	ConditionVariableBroadcast(&entry->moved);
}

void
tap_shmem_free_pipeline(int32 pipeline)
{
	TapPipelineShared *entry;
	TapPipelineShared *free;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	entry = find_pipeline(pipeline, &free);
	if (entry != NULL && entry->holds == 0)
		free_pipeline(entry);
	LWLockRelease(tap_shared->lock);
}

int32
tap_shmem_next_pipeline(int *index)
{
	int32		pipeline = 0;

	LWLockAcquire(tap_shared->lock, LW_SHARED);
	while (pipeline == 0 && *index < tap_shared->npipelines)
	{
		TapPipelineShared *entry = &tap_shared->pipelines[(*index)++];

		if (entry->in_use && entry->database == MyDatabaseId)
			pipeline = entry->pipeline;
	}
	LWLockRelease(tap_shared->lock);
	return pipeline;
}

void
tap_shmem_free_table(int32 table)
{
	TapTableShared key;

	memset(&key.key, 0, sizeof(key.key));
	key.key.database = MyDatabaseId;
	key.key.table = table;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	(void) hash_search(tables, &key.key, HASH_REMOVE, NULL);
	LWLockRelease(tap_shared->lock);
}

void
tap_shmem_forget_database(Oid database)
{
	HASH_SEQ_STATUS scan;
	TapTableShared *table;

	LWLockAcquire(tap_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < tap_shared->npipelines; i++)
	{
		TapPipelineShared *entry = &tap_shared->pipelines[i];

		if (entry->in_use && entry->database == database && entry->holds == 0)
			free_pipeline(entry);
	}

	hash_seq_init(&scan, tables);
	while ((table = hash_seq_search(&scan)) != NULL)
	{
		if (table->key.database == database)
			(void) hash_search(tables, &table->key, HASH_REMOVE, NULL);
	}
	LWLockRelease(tap_shared->lock);
}

bool
tap_shmem_is_running(TapPipelineState state)
{
	return state == TAP_STATE_SNAPSHOT || state == TAP_STATE_CATCHUP ||
		state == TAP_STATE_STREAMING;
}

void
tap_shmem_set_state(TapPipelineShared *shared, TapPipelineState state)
{
	TimestampTz now = GetCurrentTimestamp();

	SpinLockAcquire(&shared->mutex);
	if (shared->state != state)
	{
		shared->state = state;
		shared->since = now;

		/* What it has recovered from is in tapdata.events. */
		if (state == TAP_STATE_STREAMING)
			shared->last_error[0] = '\0';
	}
	if (!tap_shmem_is_running(state))
		shared->delay[0] = '\0';
	SpinLockRelease(&shared->mutex);
	ConditionVariableBroadcast(&shared->moved);
}

/* Into a field of an entry, with its mutex held. */
static void
set_text(char *field, const char *text, int length)
{
	if (length > 0)
		memcpy(field, text, length);
	field[length] = '\0';
}

static int
error_length(const char *text)
{
	return text == NULL ? 0 : pg_mbcliplen(text, strlen(text), TAP_ERROR_MAX_BYTES - 1);
}

void
tap_shmem_set_error(TapPipelineShared *shared, const char *error)
{
	int			length = error_length(error);

	SpinLockAcquire(&shared->mutex);
	set_text(shared->last_error, error, length);
	SpinLockRelease(&shared->mutex);
}

void
tap_shmem_set_delayed(TapPipelineShared *shared, const char *why)
{
	int			length = error_length(why);
	TimestampTz now = GetCurrentTimestamp();

	SpinLockAcquire(&shared->mutex);
	if (shared->delay[0] == '\0')
		shared->delayed_since = now;
	set_text(shared->delay, why, length);
	SpinLockRelease(&shared->mutex);
}

void
tap_shmem_set_reached(TapPipelineShared *shared, const char *position,
					  TimestampTz source_commit_time, bool behind)
{
	TimestampTz now = GetCurrentTimestamp();
	Size		bytes = strlen(position) + 1;

	SpinLockAcquire(&shared->mutex);
	shared->position_is_stored = bytes > TAP_POSITION_MAX_BYTES;
	if (shared->position_is_stored)
		shared->reached_position[0] = '\0';
	else
		memcpy(shared->reached_position, position, bytes);
	if (source_commit_time != 0)
		shared->last_commit_at = source_commit_time;
	shared->applied_at = now;
	shared->behind = behind;
	SpinLockRelease(&shared->mutex);
	ConditionVariableBroadcast(&shared->moved);
}

void
tap_shmem_set_behind_since(TapPipelineShared *shared, TimestampTz since)
{
	SpinLockAcquire(&shared->mutex);
	shared->behind_since = since;
	SpinLockRelease(&shared->mutex);
}

char *
tap_shmem_reached(TapPipelineShared *shared)
{
	char		position[TAP_POSITION_MAX_BYTES];
	bool		stored;
	char	   *result;
	MemoryContext caller = CurrentMemoryContext;

	SpinLockAcquire(&shared->mutex);
	stored = shared->position_is_stored;
	strlcpy(position, shared->reached_position, sizeof(position));
	SpinLockRelease(&shared->mutex);

	if (!stored)
		return position[0] != '\0' ? pstrdup(position) : NULL;
	if (IsTransactionState())
		return tap_position_read(shared->pipeline);

	tap_worker_begin();
	result = tap_position_read(shared->pipeline);
	if (result != NULL)
		result = MemoryContextStrdup(caller, result);
	tap_worker_commit();
	return result;
}

void
tap_shmem_set_source_position(TapPipelineShared *shared, const char *position)
{
	SpinLockAcquire(&shared->mutex);

	/* One that is too long is only not shown. */
	if (strlcpy(shared->source_position, position,
				TAP_POSITION_MAX_BYTES) >= TAP_POSITION_MAX_BYTES)
		shared->source_position[0] = '\0';
	SpinLockRelease(&shared->mutex);
}

void
tap_shmem_set_awaited(TapPipelineShared *shared)
{
	TimestampTz now = GetCurrentTimestamp();

	SpinLockAcquire(&shared->mutex);
	shared->awaited_at = now;
	if (shared->worker_latch != NULL)
		SetLatch(shared->worker_latch);
	SpinLockRelease(&shared->mutex);
}

TimestampTz
tap_shmem_awaited_at(TapPipelineShared *shared)
{
	TimestampTz result;

	SpinLockAcquire(&shared->mutex);
	result = shared->awaited_at;
	SpinLockRelease(&shared->mutex);
	return result;
}

const char *
tap_shmem_state_name(TapPipelineState state)
{
	switch (state)
	{
		case TAP_STATE_STOPPED:
			return "stopped";
		case TAP_STATE_STARTING:
			return "starting";
		case TAP_STATE_SNAPSHOT:
			return "snapshot";
		case TAP_STATE_CATCHUP:
			return "catchup";
		case TAP_STATE_STREAMING:
			return "streaming";
		case TAP_STATE_FAILED:
			return "failed";
		case TAP_STATE_RETRYING:
			return "retrying";
	}
	return "unknown";
}
