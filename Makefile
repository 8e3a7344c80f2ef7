# tapdata: builds with PGXS against the pg_config that is first in the PATH,
# or PG_CONFIG=/path/to/pg_config.
#
#   make                the extension, and each connector whose library is here
#   make install        into that PostgreSQL
#   make WERROR=1       warnings are errors
#   make installcheck   regression tests on a running server that preloads tapdata
#
# Other targets are in test/targets.mk.

EXTENSION = tapdata
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" tapdata.control)

MODULE_big = tapdata
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
HEADERS_tapdata = src/connector.h
PGFILEDESC = "tapdata - real-time data hub"

# One file a subject, in the order in which they are to be run.
SQL_PARTS = \
	sql/catalog.sql \
	sql/connections.sql \
	sql/pipelines.sql \
	sql/views.sql
DATA = $(wildcard sql/tapdata--*--*.sql)
DATA_built = tapdata--$(EXTVERSION).sql

PG_CPPFLAGS = -I$(CURDIR)/src -DTAPDATA_VERSION='"$(EXTVERSION)"' $(shell curl-config --cflags 2>/dev/null)
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type \
	$(if $(WERROR),-Werror)
SHLIB_LINK = $(or $(shell curl-config --libs 2>/dev/null),-lcurl)

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test

# Nothing of ours is inlined into queries, so bitcode would only cost time.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)
else
# "make test" and "make demo" can still be asked for: they install what is missing.
all install installcheck: no-postgres
no-postgres:
	@echo "there are no server headers of PostgreSQL for $(PG_CONFIG); install" >&2; \
	echo "postgresql-server-dev-NN, or name another one with make PG_CONFIG=PATH" >&2; false
endif

$(OBJS): $(wildcard src/*.h)

$(DATA_built): $(SQL_PARTS) tapdata.control
	( printf '%s\n\n' '\echo Use "CREATE EXTENSION tapdata" to load this file. \quit' \
		&& cat $(SQL_PARTS) ) >$@.tmp && mv $@.tmp $@

EXTRA_CLEAN = $(wildcard tapdata--*.sql)

# ---------------------------------------------------------------------
# Connectors.  Each has a Makefile with the targets of PGXS, and
# "check-library", which fails with a line that says what is missing and how
# to get it.  Such a connector is left out.
# ---------------------------------------------------------------------

CONNECTORS = $(patsubst connectors/%/Makefile,%,$(sort $(wildcard connectors/*/Makefile)))

# $(call each_connector,target)
define each_connector
+@set -e; for connector in $(CONNECTORS); do \
	if $(MAKE) -s --no-print-directory -C connectors/$$connector check-library PG_CONFIG='$(PG_CONFIG)'; then \
		$(MAKE) --no-print-directory -C connectors/$$connector $(1) \
			PG_CONFIG='$(PG_CONFIG)' WERROR='$(WERROR)' TAPDATA_SRC='$(CURDIR)/src'; \
	else \
		echo "connector $$connector is left out, its library is missing (see above)"; \
	fi; \
done
endef

.PHONY: connectors install-connectors uninstall-connectors clean-connectors

all: connectors

connectors:
	$(call each_connector,all)

install: install-connectors

install-connectors: connectors
	$(call each_connector,install)

uninstall: uninstall-connectors

uninstall-connectors:
	$(call each_connector,uninstall)

clean: clean-connectors

clean-connectors:
	@for connector in $(CONNECTORS); do \
		$(MAKE) -s --no-print-directory -C connectors/$$connector clean PG_CONFIG='$(PG_CONFIG)'; \
	done

-include test/targets.mk
