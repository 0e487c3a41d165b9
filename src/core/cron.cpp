#include <tidemill/cron.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/cron_spec.hpp"

namespace tidemill {

namespace {

using std::chrono::local_seconds;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;
using namespace std::chrono_literals;

constexpr sys_seconds earliest = sys_days{1y / 1 / 1};
constexpr sys_seconds latest = sys_days{9999y / 1 / 1};
/// 29 February may be eight years away, and nothing else that exists is rarer.
constexpr seconds horizon = std::chrono::days{3653};

local_seconds local(sys_seconds at, seconds offset) { return local_seconds{at.time_since_epoch() + offset}; }

/// Finds the next firing period by period. Within one, local time runs evenly, so the calendar decides; gap
/// and fold are what happens at its two ends.
class Search {
 public:
  Search(const CronFields& fields, const TimeZone& zone, Gap gap, Fold fold)
      : fields_(fields), zone_(zone), gap_(gap), fold_(fold) {}

  /// The first firing from `from` to just before `end`.
  std::optional<sys_seconds> first(sys_seconds from, sys_seconds end) const {
    while (from < end) {
      const TimeZone::Period period = zone_.period(from);
      const auto at = first_in(period, from, std::min(period.end, end));
      if (at) return at;
      from = period.end;
    }
    return {};
  }

 private:
  /// The first firing in `period`, from `from` to just before `end`.
  std::optional<sys_seconds> first_in(const TimeZone::Period& period, sys_seconds from,
                                      sys_seconds end) const {
    const seconds before = period.begin > earliest ? zone_.period(period.begin - 1s).offset : period.offset;
    const seconds after = period.end < latest ? zone_.period(period.end).offset : period.offset;

    const bool at_begin = from == period.begin && gap_ == Gap::after;
    if (at_begin && fires_in_gap(period.begin, before, period.offset)) return from;

    local_seconds local_begin = local(from, period.offset);
    local_seconds local_end = local(end, period.offset);
    if (fold_ == Fold::first) local_begin = std::max(local_begin, local(period.begin, before));
    if (fold_ == Fold::last) local_end = std::min(local_end, local(period.end, after));
    if (const auto at = fields_.first_in(local_begin, local_end)) {
      return sys_seconds{at->time_since_epoch() - period.offset};
    }

    const bool at_end = end == period.end && gap_ == Gap::before;
    if (at_end && fires_in_gap(period.end, period.offset, after)) return end - 1s;
    return {};
  }

  /// Whether a time matches that the change at `at` leaves out.
  bool fires_in_gap(sys_seconds at, seconds before, seconds after) const {
    return before < after && fields_.first_in(local(at, before), local(at, after)).has_value();
  }

  const CronFields& fields_;
  const TimeZone& zone_;
  Gap gap_;
  Fold fold_;
};

}  // namespace

struct Cron::Rep {
  CronSpec spec;
  Gap gap;
  Fold fold;
  CronDialect dialect;
};

Cron::Cron(std::shared_ptr<const Rep> rep) : rep_(std::move(rep)) {}

Cron Cron::parse(std::string_view spec, const CronOptions& options) {
  if (options.dialect == CronDialect::robfig) {
    return Cron{std::make_shared<Rep>(parse_robfig_spec(spec, options.zone), options.gap, options.fold,
                                      options.dialect)};
  }
  CronSpec parsed = parse_cron_spec(spec, options.zone);
  // A rhythm goes by the clock on the wall as it is. Fields that name times of day take the caller's
  // policies.
  const bool rhythm = parsed.fields.hour == every_from_to(0, 23);
  const Gap gap = rhythm ? Gap::skip : options.gap;
  const Fold fold = rhythm ? Fold::both : options.fold;
  return Cron{std::make_shared<Rep>(std::move(parsed), gap, fold, options.dialect)};
}

std::optional<TimePoint> Cron::next(TimePoint after) const {
  const CronSpec& spec = rep_->spec;
  if (after >= latest) return {};
  if (spec.every > Duration::zero()) return after + spec.every;
  const sys_seconds floor = std::max(std::chrono::floor<seconds>(after), earliest);
  if (rep_->dialect == CronDialect::robfig) return next_robfig(spec.fields, *spec.zone, floor);
  const Search search{spec.fields, *spec.zone, rep_->gap, rep_->fold};
  return search.first(floor + 1s, std::min(floor + horizon, latest));
}

const std::string& Cron::zone() const noexcept { return rep_->spec.zone_name; }

}  // namespace tidemill
