/* Dates, times and timestamps: ISO text with BC years and years above 9999, to days and microseconds and back.
 * The civil-date arithmetic counts in eras of 400 years of the proleptic Gregorian calendar, which is PostgreSQL's. */
#include "avro/text.h"

#define US_PER_DAY INT64_C(86400000000)

/* days_from_civil: days since 1970-01-01 of an astronomical year (0 is 1 BC). */
static int64_t days_from_civil(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year; /* years begin in March: the leap day comes last */
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void civil_from_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t of_era = z - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int month = (int)((5 * of_year + 2) / 153);

	*ret_day = (int)(of_year - (153 * month + 2) / 5 + 1);
	*ret_month = month < 10 ? month + 3 : month - 9;
	*ret_year = year + era * 400 + (*ret_month <= 2);
}

static bool leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_days(int64_t year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return month == 2 && leap(year) ? 29 : days[month - 1];
}

/* take reads lo..hi digits off the front. */
static bool take(struct ls_str *text, size_t lo, size_t hi, int64_t *ret)
{
	size_t i = 0;
	int64_t value = 0;

	for (; i < text->len && i < hi && text->ptr[i] >= '0' && text->ptr[i] <= '9'; i++)
		value = value * 10 + (text->ptr[i] - '0');
	if (i < lo)
		return false;
	*text = (struct ls_str){ text->ptr + i, text->len - i };
	*ret = value;
	return true;
}

static bool take_char(struct ls_str *text, char c)
{
	if (!text->len || text->ptr[0] != c)
		return false;
	*text = (struct ls_str){ text->ptr + 1, text->len - 1 };
	return true;
}

/* take_bc cuts " BC" off the end. */
static bool take_bc(struct ls_str *text)
{
	if (text->len < 3 || memcmp(text->ptr + text->len - 3, " BC", 3) != 0)
		return false;
	text->len -= 3;
	return true;
}

static bool take_date(struct ls_str *text, bool bc, int64_t *ret_days)
{
	int64_t year, month, day;

	if (!take(text, 4, 7, &year) || !take_char(text, '-') || !take(text, 2, 2, &month) || !take_char(text, '-') ||
	    !take(text, 2, 2, &day))
		return false;
	if (year < 1 || month < 1 || month > 12)
		return false;
	if (bc)
		year = 1 - year;
	if (day < 1 || day > month_days(year, (int)month))
		return false;
	*ret_days = days_from_civil(year, (int)month, (int)day);
	return true;
}

static bool take_time(struct ls_str *text, int64_t *ret_us)
{
	int64_t hour, minute, second, fraction = 0;
	size_t before;

	if (!take(text, 2, 2, &hour) || !take_char(text, ':') || !take(text, 2, 2, &minute) || !take_char(text, ':') ||
	    !take(text, 2, 2, &second))
		return false;
	if (take_char(text, '.')) {
		before = text->len;
		if (!take(text, 1, 6, &fraction))
			return false;
		for (size_t i = before - text->len; i < 6; i++)
			fraction *= 10;
	}
	if (hour > 24 || minute > 59 || second > 59)
		return false;
	*ret_us = ((hour * 60 + minute) * 60 + second) * 1000000 + fraction;
	return *ret_us <= US_PER_DAY;
}

bool ls_text_date(struct ls_str text, int32_t *ret_days)
{
	bool bc = take_bc(&text);
	int64_t days;

	if (!take_date(&text, bc, &days) || text.len || days < INT32_MIN || days > INT32_MAX)
		return false;
	*ret_days = (int32_t)days;
	return true;
}

bool ls_text_time(struct ls_str text, int64_t *ret_us)
{
	return take_time(&text, ret_us) && !text.len;
}

static bool take_timestamp(struct ls_str text, bool zone, int64_t *ret_days, int64_t *ret_us)
{
	bool bc = take_bc(&text);

	if (!take_date(&text, bc, ret_days) || !take_char(&text, ' ') || !take_time(&text, ret_us))
		return false;
	if (zone && !(take_char(&text, '+') && take_char(&text, '0') && take_char(&text, '0')))
		return false;
	return !text.len;
}

bool ls_text_timestamp(struct ls_str text, bool zone, int64_t *ret_us)
{
	int64_t days, us;
	__int128 all;

	if (!take_timestamp(text, zone, &days, &us))
		return false;
	all = (__int128)days * US_PER_DAY + us;
	if (all < INT64_MIN || all > INT64_MAX)
		return false;
	*ret_us = (int64_t)all;
	return true;
}

bool ls_text_timestamp_far(struct ls_str text, bool zone)
{
	int64_t days, us;

	return take_timestamp(text, zone, &days, &us);
}

bool ls_text_infinite(struct ls_str text)
{
	return ls_str_equal(text, LS_STR("infinity")) || ls_str_equal(text, LS_STR("-infinity"));
}

/* two writes exactly two digits. */
static char *two(char *at, int value)
{
	*at++ = (char)('0' + value / 10 % 10);
	*at++ = (char)('0' + value % 10);
	return at;
}

static char *put_date(char *at, int64_t days, bool *ret_bc)
{
	int64_t year;
	int month, day;

	civil_from_days(days, &year, &month, &day);
	*ret_bc = year <= 0;
	if (year <= 0)
		year = 1 - year;
	if (year <= 9999)
		at = two(two(at, (int)(year / 100)), (int)(year % 100));
	else
		at += ls_print_int(at, year);
	*at++ = '-';
	at = two(at, month);
	*at++ = '-';
	return two(at, day);
}

static char *put_time(char *at, int64_t us)
{
	int64_t second = us / 1000000, fraction = us % 1000000;

	at = two(at, (int)(second / 3600));
	*at++ = ':';
	at = two(at, (int)(second / 60 % 60));
	*at++ = ':';
	at = two(at, (int)(second % 60));
	if (!fraction)
		return at;
	*at++ = '.';
	for (int64_t unit = 100000; fraction; unit /= 10) {
		*at++ = (char)('0' + fraction / unit);
		fraction %= unit;
	}
	return at;
}

static size_t finish(char *out, char *at, bool zone, bool bc)
{
	if (zone) {
		memcpy(at, "+00", 3);
		at += 3;
	}
	if (bc) {
		memcpy(at, " BC", 3);
		at += 3;
	}
	*at = 0;
	return (size_t)(at - out);
}

size_t ls_print_date(char *out, int32_t days)
{
	bool bc;
	char *at = put_date(out, days, &bc);

	return finish(out, at, false, bc);
}

size_t ls_print_time(char *out, int64_t us)
{
	return finish(out, put_time(out, us), false, false);
}

size_t ls_print_timestamp(char *out, int64_t us, bool zone)
{
	int64_t days = us / US_PER_DAY, rest = us % US_PER_DAY;
	bool bc;
	char *at;

	if (rest < 0) {
		rest += US_PER_DAY;
		days--;
	}
	at = put_date(out, days, &bc);
	*at++ = ' ';
	return finish(out, put_time(at, rest), zone, bc);
}
