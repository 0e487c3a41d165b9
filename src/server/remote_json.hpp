#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "engine/remote.hpp"
#include "server/access.hpp"
#include "wire/json_read.hpp"

/// What stands in the bodies of claim, renew and report. All that reads throws wire::BadValue.
namespace tidemill::server {

struct ClaimBody {
  engine::RemoteWorker worker = {};
  std::size_t limit = 1;
  Duration lease = std::chrono::seconds{25};
  Duration wait{};
};

struct RenewBody {
  engine::RemoteWorker worker = {};
  std::vector<engine::RemoteBeat> beats = {};
  Duration lease = std::chrono::seconds{25};
};

/// Throws Problem{403}, too, for queues that aren't the caller's.
ClaimBody read_claim(const wire::JsonValue& value, const Caller& caller);
RenewBody read_renew(const wire::JsonValue& value);
std::vector<engine::RemoteReport> read_reports(const wire::JsonValue& value);

std::string text_of(const engine::RemoteClaimed& claimed);
std::string text_of(const RenewBody& body, const engine::RemoteRenewed& renewed);
/// One answer each.
std::string text_of(std::span<const engine::RemoteReport> reports, std::span<const Reported> answers);

}  // namespace tidemill::server
