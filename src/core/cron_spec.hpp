#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <tidemill/cron.hpp>

#include "core/cron_fields.hpp"
#include "core/time_zone.hpp"

namespace tidemill {

/// A spec, taken apart.
struct CronSpec {
  std::string zone_name = {};
  std::shared_ptr<const TimeZone> zone = {};
  CronFields fields = {};
  Duration every{};  ///< Not zero: the spec is `@every`, and `fields` have no meaning.
};

/// The dialect that cron.hpp describes. Throws Error{invalid} with the column.
CronSpec parse_cron_spec(std::string_view spec, const std::string& zone);

/// The dialect of robfig/cron v3.0.0; cron_robfig.cpp describes it. Throws Error{invalid} with that parser's
/// text.
CronSpec parse_robfig_spec(std::string_view spec, const std::string& zone);

/// The first firing after `after` by robfig's way through the calendar; none when there is none until the end
/// of the fifth calendar year.
std::optional<std::chrono::sys_seconds> next_robfig(const CronFields& fields, const TimeZone& zone,
                                                    std::chrono::sys_seconds after);

}  // namespace tidemill
