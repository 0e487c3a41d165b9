#pragma once

#include <string>
#include <vector>

#include <tidemill/task.hpp>

#include "wire/json_read.hpp"

/// Reads what json_write.hpp writes. All throw BadValue.
namespace tidemill::wire {

/// By its name, also `gone`.
State read_state(const JsonValue& value);
/// The bytes that `member_body` wrote.
std::string read_body(const JsonValue& value);
/// As `member_logs` writes them.
std::vector<LogLine> read_logs(const JsonValue& value);

}  // namespace tidemill::wire
