# test/targets.mk
#	  Targets beside those of PGXS; the top Makefile includes this at its end.
#
#   make test           installs what tests need, builds, installs, runs everything
#   make test TESTS=... runs only these: "regress", test/t/*.pl, test/unit/*_unit
#   make chaos KILLS=N  the crash tests of sources and targets with N kills each (200)
#   make demo           a hub and a shop of its own to look at; make demo-stop removes it
#   make bench          measures speed; see test/bench/README.md
#   make docs           writes the references in doc/ from the code; needs an installed build
#   make indent         formats the C sources; make check-format only checks
#
# All of them work as root and as a user with sudo.

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
SERVICES := test/services
FUZZ_REPLAYS := $(patsubst %_fuzz.c,%_replay,$(wildcard test/fuzz/*_fuzz.c))
KILLS ?= 200
BUILD_JOBS ?= 2
RUN_TESTS = PG_CONFIG='$(PG_CONFIG)' REGRESS='$(REGRESS)' REGRESS_OPTS='$(REGRESS_OPTS)' test/run.sh

.PHONY: test test-packages test-build test-connectors test-run chaos demo demo-stop bench docs indent check-format \
	unit clean-unit $(FUZZ_REPLAYS)

# Another make reads the Makefile again, now that pg_config is there for it.
test: test-packages
	@$(MAKE) --no-print-directory test-build
	@$(MAKE) --no-print-directory test-run; status=$$?; \
	$(MAKE) --no-print-directory -s test-connectors DO=uninstall; exit $$status

test-packages:
	@$(SERVICES)/install.sh build test
	@$(SERVICES)/chroot.sh sid || { [ $$? -eq 77 ] && [ -z "$$TAPDATA_REQUIRE_SERVERS" ]; }
	@$(SERVICES)/chroot.sh trixie || { [ $$? -eq 77 ] && [ -z "$$TAPDATA_REQUIRE_SERVERS" ]; }
	@$(SERVICES)/kafka.sh fetch || { [ $$? -eq 77 ] && [ -z "$$TAPDATA_REQUIRE_SERVERS" ]; }
	@$(SERVICES)/opensearch.sh fetch || { [ $$? -eq 77 ] && [ -z "$$TAPDATA_REQUIRE_SERVERS" ]; }
	@$(SERVICES)/postgres_programs.sh fetch || { [ $$? -eq 77 ] && [ -z "$$TAPDATA_REQUIRE_SERVERS" ]; }
	@$(SERVICES)/http_server.sh fetch clickhouse || { [ $$? -eq 77 ] && [ -z "$$TAPDATA_REQUIRE_SERVERS" ]; }

test-build:
	@$(MAKE) --no-print-directory -s -j$(BUILD_JOBS) all unit
	@$(SUDO) $(MAKE) --no-print-directory -s install PG_CONFIG='$(PG_CONFIG)'
	@$(MAKE) --no-print-directory -s test-connectors DO=all
	@$(MAKE) --no-print-directory -s test-connectors DO=install

# Connectors for tests only, built against what is installed, and taken away in the end.
test-connectors:
	+@for folder in $(wildcard test/connectors/*/ test/modules/*/); do \
		$(if $(filter all,$(DO)),,$(SUDO)) $(MAKE) --no-print-directory -s -C $$folder $(DO) \
			PG_CONFIG='$(PG_CONFIG)' || exit 1; \
	done

test-run:
	@$(RUN_TESTS) $(TESTS)

chaos: test-packages
	@$(MAKE) --no-print-directory test-build
	@TAPDATA_CHAOS_KILLS=$(KILLS) $(RUN_TESTS) $$(grep -l TAPDATA_CHAOS_KILLS test/t/*.pl)

demo:
	@$(SERVICES)/install.sh build demo
	@$(MAKE) --no-print-directory -s -j$(BUILD_JOBS) all
	@$(SUDO) $(MAKE) --no-print-directory -s install PG_CONFIG='$(PG_CONFIG)'
	@PG_CONFIG='$(PG_CONFIG)' test/demo/start.sh

demo-stop:
	@test/demo/stop.sh

bench:
	@$(SERVICES)/install.sh build bench
	@$(SERVICES)/kafka.sh fetch
	@$(MAKE) --no-print-directory -s -j$(BUILD_JOBS) all
	@$(SUDO) $(MAKE) --no-print-directory -s install PG_CONFIG='$(PG_CONFIG)'
	@$(MAKE) --no-print-directory -s test-connectors DO=all
	@$(MAKE) --no-print-directory -s test-connectors DO=install
	@PG_CONFIG='$(PG_CONFIG)' test/bench/bench.pl $(BENCH)

docs:
	@PG_CONFIG='$(PG_CONFIG)' doc/generate.sh

indent:
	@$(SERVICES)/install.sh format
	@PG_CONFIG='$(PG_CONFIG)' test/format.sh

check-format:
	@$(SERVICES)/install.sh format
	@PG_CONFIG='$(PG_CONFIG)' test/format.sh --check

# ---------------------------------------------------------------------
# Unit tests: programs that print TAP, for code that needs no server.
# ---------------------------------------------------------------------

UNIT_PROGRAMS = $(patsubst %.c,%,$(wildcard test/unit/*_unit.c))
BINLOG_SOURCES = $(wildcard connectors/mysql/binlog_*.c connectors/mysql/gtid*.c)
UNIT_CFLAGS = -std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra $(if $(WERROR),-Werror) \
	-fsanitize=address,undefined -fno-sanitize-recover=all

unit: $(UNIT_PROGRAMS) $(FUZZ_REPLAYS)

# The targets of fuzzing without a fuzzer, which test/t/025 gives their seeds.
$(FUZZ_REPLAYS): test/fuzz/%_replay:
	+@$(MAKE) --no-print-directory -s -C test/fuzz TARGET=$* CC='$(CC)' PG_CONFIG='$(PG_CONFIG)' $*_replay

test/unit/binlog_unit: test/unit/binlog_unit.c $(BINLOG_SOURCES) $(wildcard connectors/mysql/*.h)
	$(CC) $(UNIT_CFLAGS) -Iconnectors/mysql -o $@ $< $(BINLOG_SOURCES) -lz -lzstd -lm

HTTP_SOURCES = connectors/http/http_json.c connectors/http/http_bulk.c connectors/http/http_page_link.c

test/unit/http_unit: test/unit/http_unit.c test/unit/tap_unit.h $(HTTP_SOURCES) $(HTTP_SOURCES:.c=.h)
	$(CC) $(UNIT_CFLAGS) -Iconnectors/http -o $@ $< $(HTTP_SOURCES)

test/unit/pgoutput_unit: test/unit/pgoutput_unit.c test/unit/tap_unit.h connectors/postgres/pgoutput.c \
		connectors/postgres/pgoutput.h
	$(CC) $(UNIT_CFLAGS) -Iconnectors/postgres -o $@ $< connectors/postgres/pgoutput.c

# What needs no types of a server is tested without one: test/unit/server_shim.h.
RECORD_SOURCES = $(patsubst %,connectors/common/%.c,csv csv_sniff json_scan json_split json_string)

test/unit/records_unit: test/unit/records_unit.c test/unit/server_shim.h test/unit/tap_unit.h \
		$(RECORD_SOURCES) $(wildcard connectors/common/*.h)
	$(CC) $(UNIT_CFLAGS) -Wno-unused-parameter -Wno-sign-compare -Iconnectors/common -Isrc \
		-I$(shell $(PG_CONFIG) --includedir-server) -o $@ $< $(RECORD_SOURCES)

COPYBOOK_SOURCES = $(wildcard connectors/file/copybook_*.c) \
	$(addprefix connectors/file/,cobol_compile.c cobol_condition.c cobol_frame.c cobol_name.c \
	cobol_number.c cobol_run.c ebcdic.c)

test/unit/copybook_unit: test/unit/copybook_unit.c test/unit/tap_unit.h $(COPYBOOK_SOURCES) \
		$(wildcard connectors/file/co*.h connectors/file/ebcdic.h)
	$(CC) $(UNIT_CFLAGS) -Iconnectors/file -o $@ $< $(COPYBOOK_SOURCES) -lm

clean: clean-unit

clean-unit:
	@rm -f $(UNIT_PROGRAMS) $(FUZZ_REPLAYS)
	@$(MAKE) --no-print-directory -s test-connectors DO=clean SUDO=
