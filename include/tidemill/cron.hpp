#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <tidemill/error.hpp>
#include <tidemill/task.hpp>

namespace tidemill {

/// What becomes of a local time that does not exist, because the clocks were put forward past it.
enum class Gap : unsigned char {
  skip,    ///< No firing for it.
  before,  ///< It fires at the last second before the gap: 02:30 becomes 01:59:59.
  after,   ///< It fires at the first instant after the gap: 02:30 becomes 03:00:00.
};

/// What becomes of a local time that occurs twice, because the clocks were put back.
enum class Fold : unsigned char {
  first,  ///< It fires the first time only.
  last,   ///< It fires the second time only.
  both,   ///< It fires both times.
};

/// The language that a spec is written in.
enum class CronDialect : unsigned char {
  tidemill,  ///< Ours, described below.
  /// That of Go's robfig/cron v3.0.0 with five fields and no descriptors: its grammar, its error texts and
  /// its way through daylight saving; `gap` and `fold` have no effect. For programs that take the place of
  /// one that used it.
  robfig,
};

struct CronOptions {
  /// An IANA name such as "Europe/Berlin". A prefix in the spec (`CRON_TZ=Asia/Tokyo …`) wins.
  std::string zone = "UTC";
  Gap gap = Gap::after;
  Fold fold = Fold::first;
  CronDialect dialect = CronDialect::tidemill;
};

/// What is wrong with a spec, and where; its kind is `invalid`.
class CronError : public Error {
 public:
  CronError(std::size_t column, std::string message)
      : Error(ErrorKind::invalid, std::move(message)), column_(column) {}
  std::size_t column() const noexcept { return column_; }  ///< In characters, from 1.

 private:
  std::size_t column_;
};

/// A rule that answers when something is due next, read from a cron spec. Immutable and cheap to copy.
///
/// The dialect `tidemill`:
///
///     spec     = [ ("CRON_TZ=" | "TZ=") zone ] ( fields | name | "@every" duration )
///     fields   = [second] minute hour day-of-month month day-of-week      (without a second: at second 0)
///     field    = item { "," item }
///     item     = ( "*" | "?" | value [ "-" value ] ) [ "/" step ]         day-of-month also: "L", the last
///     day name     = @yearly | @annually | @monthly | @weekly | @daily | @midnight | @hourly duration = {
///     number ("h" | "m" | "s" | "ms" | "us") }               such as 1h30m, 1.5h, 90s, 500ms
///
/// * Seconds and minutes are 0-59, hours 0-23, days 1-31, months 1-12 or JAN-DEC, days of the week 0-7 or
/// SUN-SAT,
///   where 0 and 7 are Sunday. Upper and lower case mean the same in names.
/// * `?` means `*`. `a/n` means from a to the field's end (Saturday for days of the week) in steps of n.
/// * Ranges run upwards; only those of days of the week may pass the week's end: FRI-MON, 6-2.
/// * A step is at most the number of the field's values: a longer one never comes round, and is an error.
/// * When day-of-month and day-of-week are both restricted, a day matches if either does, as in Vixie cron; a
///   field is restricted when it leaves out a day (star with a step of 2 does, 1-31 does not). When one is
///   restricted, it alone decides.
/// * Names stand for fields: @hourly is "0 * * * *", @daily and @midnight "0 0 * * *", @weekly "0 0 * * 0",
///   @monthly "0 0 1 * *", @yearly and @annually "0 0 1 1 *".
/// * `@every` counts real time from the instant that `next` is given: it answers that instant plus the
/// duration,
///   to the microsecond. It has no zone, gap or fold. It goes from 1 ms to 87,600 h (ten years).
///
/// When the clocks change:
///
/// * A spec whose hour field leaves out an hour names times of day. Each such time fires once a day: in a gap
/// as
///   `gap` says, in a fold as `fold` says. Several times that fall on one instant are one firing.
/// * A spec whose hour field holds every hour (`*`, `0-23`) names a rhythm. It fires whenever the clock on
/// the
///   wall shows a time that matches: in both halves of a fold, and for nothing in a gap. So "*/5 * * * *"
///   fires every five real minutes all through the night. `gap` and `fold` have no effect on it.
///
/// Thread safety: all calls may be made from any thread.
class Cron {
 public:
  /// Throws CronError, which quotes the spec and says what is wrong there and what would be right, and
  /// Error{invalid} when the options' zone is unknown. In the dialect `robfig` it is Error{invalid}, with
  /// that parser's own messages; where it would panic, the message says what is missing.
  ///
  /// A spec that matches no date at all, such as 30 February, is no error.
  static Cron parse(std::string_view spec, const CronOptions& options = {});

  /// The first firing strictly after `after`; on a whole second, except for `@every`.
  ///
  /// None when nothing fires in the ten years after `after` (29 February may be eight years away), or, in the
  /// dialect `robfig`, until the end of the fifth calendar year; nor from the year 9999 on. What is earlier
  /// than the year 1 counts as its beginning.
  ///
  /// Costs a few microseconds, also for the sparsest spec.
  std::optional<TimePoint> next(TimePoint after) const;

  /// The zone that counts: the prefix's, or else the options'.
  const std::string& zone() const noexcept;

 private:
  struct Rep;
  explicit Cron(std::shared_ptr<const Rep> rep);
  std::shared_ptr<const Rep> rep_;
};

/// The version of the machine's time-zone database, such as "2026b"; "unknown" when the machine does not say.
/// A process reads the database when it first needs it; a new version takes effect when it is restarted.
std::string_view time_zone_database_version();

}  // namespace tidemill
