#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <tidemill/json.hpp>
#include <tidemill/store.hpp>

#include "wire/json_read.hpp"

/// The worker's verbs of the port, for a worker whose store is a server. What core has decided travels as it
/// is. All that reads throws BadValue.
namespace tidemill::wire {

struct PortClaim {
  std::string worker = {};
  std::vector<std::pair<std::string, std::size_t>> wants = {};  ///< Queues, and how many of each at most.
  std::size_t count_max = 1;
  std::size_t bytes_max = 0;
  Duration lease{};
};
void write_claim(json::Writer& writer, const Claim& claim);
PortClaim read_claim(const JsonValue& value);
void write_claimed(json::Writer& writer, const Claimed& claimed);
Claimed read_claimed(const JsonValue& value);

struct PortRenewal {
  WorkerInfo worker = {};
  std::vector<Lease> leases = {};  ///< Of the beats, one each: only who they are.
  std::vector<Beat> beats = {};
  Duration lease{};
  std::vector<Stat> stats = {};
};
void write_renewal(json::Writer& writer, const WorkerInfo& worker, std::span<const Beat> beats,
                   Duration lease, std::span<const Stat> stats);
PortRenewal read_renewal(const JsonValue& value);
void write_renewed(json::Writer& writer, const Renewed& renewed);
Renewed read_renewed(const JsonValue& value);

struct PortReports {
  std::vector<Lease> leases = {};  ///< Of the reports, one each: only who they are.
  std::vector<Report> reports = {};
};
/// As an element of `items`. `Report::then` is left out.
void write_report(json::Writer& writer, const Report& report);
PortReports read_reports(const JsonValue& value);
void write_reported(json::Writer& writer, std::span<const Reported> answers);
std::vector<Reported> read_reported(const JsonValue& value);

/// {"answers":["changed","absent"]}.
void write_changed(json::Writer& writer, std::span<const Changed> answers);
std::vector<Changed> read_changed(const JsonValue& value);

}  // namespace tidemill::wire
