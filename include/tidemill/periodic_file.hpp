#pragma once

#include <string>
#include <vector>

#include <tidemill/schedule.hpp>

namespace tidemill {

/// Reads periodic tasks from a file of YAML, as Asynq's users keep them. The target is tidemill::yaml, which
/// needs yaml-cpp; nothing else of the library does.
///
///     configs:
///       - cronspec: "*/5 * * * *"
///         task_type: "mail:digest"
///         payload: {list: weekly}      # Becomes JSON. Or payload_text: what it is, to the letter.
///       - cronspec: "CRON_TZ=Europe/Berlin 0 9 * * MON-FRI"
///         task_type: "report:build"
///         queue: reports               # And all else that a schedule and its task may have, see
///         retries_max: 3               # docs/configuration.md.
///
/// A periodic task's clock goes as Asynq's does, unless the entry says otherwise: a time that daylight saving
/// leaves out does not fire, one that comes twice fires twice, and what was missed stays so. Its id, unless
/// it has one, is made of spec, zone, kind, payload and queue: an entry that stays the same keeps its next
/// instant, wherever it stands in the file.
///
/// The file may also be a list of schedules, as the server's configuration has it.
///
/// Throws Error{invalid} with a line for each mistake: "FILE:LINE:COLUMN: what, and what would be right". An
/// empty file is one, as it may be half written; `configs: []` says that there are none.
std::vector<Schedule> read_periodic_file(const std::string& path);

}  // namespace tidemill
