#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
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

struct ReportBody {
  std::vector<engine::RemoteReport> reports = {};
  std::optional<ClaimBody> claim = {};
};

/// Throws Problem{403}, too, for queues that aren't the caller's.
ClaimBody read_claim(const wire::JsonValue& value, const Caller& caller);
RenewBody read_renew(const wire::JsonValue& value);
/// As `read_claim` throws, for the claim that may come with it. That one doesn't wait.
ReportBody read_report(const wire::JsonValue& value, const Caller& caller);

std::string text_of(const engine::RemoteClaimed& claimed);
std::string text_of(const RenewBody& body, const engine::RemoteRenewed& renewed);
/// One answer each, and what was claimed, if anything was to be.
std::string text_of(std::span<const engine::RemoteReport> reports, std::span<const Reported> answers,
                    const std::optional<engine::RemoteClaimed>& claimed);

}  // namespace tidemill::server
