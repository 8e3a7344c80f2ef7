/*-------------------------------------------------------------------------
 *
 * test/unit/tap_unit.h
 *	  The Test Anything Protocol for unit tests in C.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TAP_UNIT_H
#define TAP_UNIT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int	tests_run;
static int	tests_failed;

static void
report(bool good, const char *format, va_list arguments)
{
	tests_run++;
	if (!good)
		tests_failed++;
	printf("%sok %d - ", good ? "" : "not ", tests_run);
	vprintf(format, arguments);
	printf("\n");
}

/* One test; format and what follows are its name. */
static void
ok(bool good, const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	report(good, format, arguments);
	va_end(arguments);
}

/* One test that two texts are the same; shows both if they are not. */
static void
is_text(const char *text, const char *expected, const char *format,...)
{
	va_list		arguments;
	bool		good = strcmp(text, expected) == 0;

	va_start(arguments, format);
	report(good, format, arguments);
	va_end(arguments);
	if (!good)
		printf("#      got: %s\n# expected: %s\n", text, expected);
}

/* Print the plan; returns the exit status of the program. */
static int
done_testing(void)
{
	printf("1..%d\n", tests_run);
	return tests_failed > 0;
}

#endif							/* TAP_UNIT_H */
