//! Wall-clock times as clients read them.

use crate::base::WallTime;
use std::time::{Duration, UNIX_EPOCH};

/// The last second of the year 9999: neither form can show more. Times come from peers and disks.
const LAST_MS: u64 = 253_402_300_799_999;

const DAY_MS: u64 = 86_400_000;

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the form of `Last-Modified` (RFC 9110).
pub(super) fn http_date(time: WallTime) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(time.0.min(LAST_MS)))
}

/// `1994-11-06T08:49:37.123Z`, the form in JSON and in `Dunlin-Expires-At` (RFC 3339).
pub(super) fn rfc3339(time: WallTime) -> String {
    let ms = time.0.min(LAST_MS);
    let (year, month, day) = civil(ms / DAY_MS);
    let of_day = ms % DAY_MS;
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", of_day % 1_000)
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant, "chrono-compatible low-level
/// date algorithms": years begin in March, so that the leap day comes last).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_read_as_they_should() {
        let shown = |ms| rfc3339(WallTime(ms));
        assert_eq!(shown(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(shown(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(shown(784_111_777_123), "1994-11-06T08:49:37.123Z");
        assert_eq!(http_date(WallTime(784_111_777_123)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn both_forms_agree_on_every_day_up_to_2200() {
        for day in 0..84_000u64 {
            let time = WallTime(day * DAY_MS);
            let parsed = httpdate::parse_http_date(&http_date(time)).unwrap();
            assert_eq!(parsed, UNIX_EPOCH + Duration::from_millis(time.0));
            let year = rfc3339(time)[..4].to_owned();
            assert!(http_date(time).contains(&year), "day {day}");
        }
    }

    #[test]
    fn a_time_beyond_the_year_9999_is_shown_as_its_end() {
        assert_eq!(rfc3339(WallTime(u64::MAX)), "9999-12-31T23:59:59.999Z");
        assert_eq!(http_date(WallTime(u64::MAX)), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
