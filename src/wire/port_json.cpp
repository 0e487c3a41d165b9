#include "wire/port_json.hpp"

#include <array>
#include <cstdint>
#include <limits>

#include "wire/admin_json.hpp"
#include "wire/base64.hpp"
#include "wire/json_write.hpp"
#include "wire/task_json.hpp"
#include "wire/value_json.hpp"
#include "wire/values.hpp"

namespace tidemill::wire {

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::array signals = {Signal::none,  Signal::cancel, Signal::hold, Signal::lost,
                                Signal::quiet, Signal::resume, Signal::stop};
constexpr std::array reported_answers = {Reported::applied, Reported::lost, Reported::ended, Reported::failed,
                                         Reported::unknown};
constexpr std::array changed_answers = {Changed::changed,     Changed::signalled, Changed::absent,
                                        Changed::wrong_state, Changed::failed,    Changed::stale,
                                        Changed::exists,      Changed::conflict};
constexpr std::array tallies = {Tally::none, Tally::success, Tally::failure, Tally::crash};

std::string_view to_string(Tally tally) noexcept {
  static constexpr std::array<std::string_view, 4> names = {"none", "success", "failure", "crash"};
  return names[static_cast<std::size_t>(tally)];
}

Tally read_tally(const JsonValue& value) {
  const std::string name = value.text();
  for (const Tally tally : tallies) {
    if (to_string(tally) == name) return tally;
  }
  value.refuse("is no way to count an outcome");
}

std::size_t size_of(const JsonValue& value) { return static_cast<std::size_t>(value.integer(0, most)); }

void member_duration(json::Writer& writer, std::string_view name, Duration duration) {
  writer.member(name, format_duration(duration));
}

/// Of the members of an object, those that tell which lease it is.
void write_lease_members(json::Writer& writer, const Lease& lease) {
  writer.member("token", lease.token);
  writer.member("queue", lease.task.ref.queue);
  writer.member("id", lease.task.ref.id);
}

template <class E>
void write_names(json::Writer& writer, std::span<const E> answers) {
  writer.key("answers");
  writer.open('[');
  for (const E answer : answers) {
    writer.comma();
    writer.write(to_string(answer));
  }
  writer.close(']');
}

template <class E>
std::vector<E> read_names(const JsonValue& value, std::span<const E> all) {
  std::vector<E> answers;
  for (const auto& [name, each] : value.members()) {
    if (name != "answers") continue;
    for (const JsonValue& one : each.elements()) answers.push_back(one.name<E>("answer", all));
  }
  return answers;
}

// ---- Claims

void read_wants(PortClaim& claim, const JsonValue& value) {
  using Want = std::pair<std::string, std::size_t>;
  static constexpr std::array members = {
      JsonMember<Want>{"queue", [](Want& w, const JsonValue& v) { w.first = v.text(); }},
      JsonMember<Want>{"limit", [](Want& w, const JsonValue& v) { w.second = size_of(v); }},
  };
  for (const JsonValue& each : value.elements())
    read_members<Want>(each, claim.wants.emplace_back(), members);
}

using ClaimMember = JsonMember<PortClaim>;
constexpr std::array claim_members = {
    ClaimMember{"worker", [](PortClaim& c, const JsonValue& v) { c.worker = v.text(); }},
    ClaimMember{"wants", read_wants},
    ClaimMember{"limit", [](PortClaim& c, const JsonValue& v) { c.count_max = size_of(v); }},
    ClaimMember{"bytes_max", [](PortClaim& c, const JsonValue& v) { c.bytes_max = size_of(v); }},
    ClaimMember{"lease", [](PortClaim& c, const JsonValue& v) { c.lease = v.duration(); }},
};

using LeaseMember = JsonMember<Lease>;
constexpr std::array lease_members = {
    LeaseMember{"token", [](Lease& l, const JsonValue& v) { l.token = v.text(); }},
    LeaseMember{"length", [](Lease& l, const JsonValue& v) { l.length = v.duration(); }},
    LeaseMember{"task", [](Lease& l, const JsonValue& v) { l.task = read_shown_task(v); }},
};

void read_leases(Claimed& claimed, const JsonValue& value) {
  for (const JsonValue& each : value.elements())
    read_members<Lease>(each, claimed.leases.emplace_back(), lease_members);
}

using ClaimedMember = JsonMember<Claimed>;
constexpr std::array claimed_members = {
    ClaimedMember{"leases", read_leases},
    ClaimedMember{"now", [](Claimed& c, const JsonValue& v) { c.now = v.time(); }},
    ClaimedMember{"next_due", [](Claimed& c, const JsonValue& v) { c.next_due = v.time(); }},
};

// ---- Renewals

void write_count(json::Writer& writer, const Stat& stat) {
  writer.open('{');
  member_time(writer, "at", stat.at);
  writer.member("queue", stat.queue);
  writer.member("kind", stat.kind);
  writer.member("success", stat.success);
  writer.member("failure", stat.failure);
  writer.member("crash", stat.crash);
  member_duration(writer, "busy", stat.busy);
  writer.close('}');
}

using StatMember = JsonMember<Stat>;
constexpr std::array count_members = {
    StatMember{"at", [](Stat& s, const JsonValue& v) { s.at = v.time(); }},
    StatMember{"queue", [](Stat& s, const JsonValue& v) { s.queue = v.text(); }},
    StatMember{"kind", [](Stat& s, const JsonValue& v) { s.kind = v.text(); }},
    StatMember{"success", [](Stat& s, const JsonValue& v) { s.success = size_of(v); }},
    StatMember{"failure", [](Stat& s, const JsonValue& v) { s.failure = size_of(v); }},
    StatMember{"crash", [](Stat& s, const JsonValue& v) { s.crash = size_of(v); }},
    StatMember{"busy", [](Stat& s, const JsonValue& v) { s.busy = v.duration(); }},
};

struct BeatOfLease {
  Lease lease = {};
  Beat beat = {};
};
using BeatMember = JsonMember<BeatOfLease>;
constexpr std::array beat_members = {
    BeatMember{"token", [](BeatOfLease& b, const JsonValue& v) { b.lease.token = v.text(); }},
    BeatMember{"queue", [](BeatOfLease& b, const JsonValue& v) { b.lease.task.ref.queue = v.text(); }},
    BeatMember{"id", [](BeatOfLease& b, const JsonValue& v) { b.lease.task.ref.id = v.text(); }},
    BeatMember{"started", [](BeatOfLease& b, const JsonValue& v) { b.beat.started = v.truth(); }},
    BeatMember{"progress", [](BeatOfLease& b, const JsonValue& v) { b.beat.progress = v.text(); }},
    BeatMember{"logs", [](BeatOfLease& b, const JsonValue& v) { b.beat.logs = read_logs(v); }},
};

void read_beats(PortRenewal& renewal, const JsonValue& value) {
  for (const JsonValue& each : value.elements()) {
    BeatOfLease beat;
    read_members<BeatOfLease>(each, beat, beat_members);
    renewal.leases.push_back(std::move(beat.lease));
    renewal.beats.push_back(std::move(beat.beat));
  }
  for (std::size_t i = 0; i < renewal.beats.size(); ++i) renewal.beats[i].lease = &renewal.leases[i];
}

using RenewalMember = JsonMember<PortRenewal>;
constexpr std::array renewal_members = {
    RenewalMember{"worker", [](PortRenewal& r, const JsonValue& v) { r.worker = read_worker(v); }},
    RenewalMember{"beats", read_beats},
    RenewalMember{"lease", [](PortRenewal& r, const JsonValue& v) { r.lease = v.duration(); }},
    RenewalMember{"stats",
                  [](PortRenewal& r, const JsonValue& v) {
                    for (const JsonValue& each : v.elements())
                      read_members<Stat>(each, r.stats.emplace_back(), count_members);
                  }},
};

using RenewedMember = JsonMember<Renewed>;
constexpr std::array renewed_members = {
    RenewedMember{"worker",
                  [](Renewed& r, const JsonValue& v) { r.worker = v.name<Signal>("signal", signals); }},
    RenewedMember{"answers",
                  [](Renewed& r, const JsonValue& v) {
                    for (const JsonValue& each : v.elements())
                      r.leases.push_back(each.name<Signal>("signal", signals));
                  }},
    RenewedMember{"now", [](Renewed& r, const JsonValue& v) { r.now = v.time(); }},
};

// ---- Reports

struct ReportOfLease {
  Lease lease = {};
  Report report = {};
};
using ReportMember = JsonMember<ReportOfLease>;
constexpr std::array report_members = {
    ReportMember{"token", [](ReportOfLease& r, const JsonValue& v) { r.lease.token = v.text(); }},
    ReportMember{"queue", [](ReportOfLease& r, const JsonValue& v) { r.lease.task.ref.queue = v.text(); }},
    ReportMember{"id", [](ReportOfLease& r, const JsonValue& v) { r.lease.task.ref.id = v.text(); }},
    ReportMember{"to", [](ReportOfLease& r, const JsonValue& v) { r.report.to = read_state(v); }},
    ReportMember{"delay", [](ReportOfLease& r, const JsonValue& v) { r.report.delay = v.duration(); }},
    ReportMember{"keep", [](ReportOfLease& r, const JsonValue& v) { r.report.keep = v.duration(); }},
    ReportMember{"attempt", [](ReportOfLease& r, const JsonValue& v) { r.report.attempt = v.small(); }},
    ReportMember{"retries", [](ReportOfLease& r, const JsonValue& v) { r.report.retries = v.small(); }},
    ReportMember{"crashes", [](ReportOfLease& r, const JsonValue& v) { r.report.crashes = v.small(); }},
    ReportMember{"deferrals", [](ReportOfLease& r, const JsonValue& v) { r.report.deferrals = v.small(); }},
    ReportMember{"tally", [](ReportOfLease& r, const JsonValue& v) { r.report.tally = read_tally(v); }},
    ReportMember{"front", [](ReportOfLease& r, const JsonValue& v) { r.report.front = v.truth(); }},
    ReportMember{"record", [](ReportOfLease& r, const JsonValue& v) { r.report.record = v.truth(); }},
    ReportMember{"release_key",
                 [](ReportOfLease& r, const JsonValue& v) { r.report.release_key = v.truth(); }},
    ReportMember{"started_at", [](ReportOfLease& r, const JsonValue& v) { r.report.started_at = v.time(); }},
    ReportMember{"result", [](ReportOfLease& r, const JsonValue& v) { r.report.result = read_body(v); }},
    ReportMember{"error", [](ReportOfLease& r, const JsonValue& v) { r.report.error = v.text(); }},
    ReportMember{"reason", [](ReportOfLease& r, const JsonValue& v) { r.report.reason = v.text(); }},
    ReportMember{"logs", [](ReportOfLease& r, const JsonValue& v) { r.report.logs = read_logs(v); }},
};

void read_items(PortReports& reports, const JsonValue& value) {
  for (const JsonValue& each : value.elements()) {
    ReportOfLease item;
    read_members<ReportOfLease>(each, item, report_members);
    reports.leases.push_back(std::move(item.lease));
    reports.reports.push_back(std::move(item.report));
  }
  for (std::size_t i = 0; i < reports.reports.size(); ++i) reports.reports[i].lease = &reports.leases[i];
}

}  // namespace

void write_claim(json::Writer& writer, const Claim& claim) {
  writer.open('{');
  writer.member("worker", claim.worker);
  writer.key("wants");
  write_array(writer, claim.wants, [](json::Writer& out, const Want& want) {
    out.open('{');
    out.member("queue", want.queue);
    out.member("limit", want.count_max);
    out.close('}');
  });
  writer.member("limit", claim.count_max);
  writer.member("bytes_max", claim.bytes_max);
  member_duration(writer, "lease", claim.lease);
  writer.close('}');
}

PortClaim read_claim(const JsonValue& value) {
  PortClaim claim;
  read_members<PortClaim>(value, claim, claim_members);
  return claim;
}

void write_claimed(json::Writer& writer, const Claimed& claimed) {
  writer.open('{');
  writer.key("leases");
  write_array(writer, claimed.leases, [](json::Writer& out, const Lease& lease) {
    out.open('{');
    out.member("token", lease.token);
    member_duration(out, "length", lease.length);
    out.key("task");
    write_task(out, lease.task, Detail::full);
    out.close('}');
  });
  member_time(writer, "now", claimed.now);
  member_time(writer, "next_due", claimed.next_due);
  writer.close('}');
}

Claimed read_claimed(const JsonValue& value) {
  Claimed claimed;
  read_members<Claimed>(value, claimed, claimed_members);
  return claimed;
}

void write_renewal(json::Writer& writer, const WorkerInfo& worker, std::span<const Beat> beats,
                   Duration lease, std::span<const Stat> stats) {
  writer.open('{');
  writer.key("worker");
  write_worker(writer, worker);
  writer.key("beats");
  write_array(writer, beats, [](json::Writer& out, const Beat& beat) {
    out.open('{');
    write_lease_members(out, *beat.lease);
    if (beat.started) out.member("started", true);
    if (beat.progress) out.member("progress", *beat.progress);
    if (!beat.logs.empty()) member_logs(out, beat.logs);
    out.close('}');
  });
  member_duration(writer, "lease", lease);
  writer.key("stats");
  write_array(writer, stats, write_count);
  writer.close('}');
}

PortRenewal read_renewal(const JsonValue& value) {
  PortRenewal renewal;
  read_members<PortRenewal>(value, renewal, renewal_members);
  return renewal;
}

void write_renewed(json::Writer& writer, const Renewed& renewed) {
  writer.open('{');
  writer.member("worker", to_string(renewed.worker));
  write_names<Signal>(writer, renewed.leases);
  member_time(writer, "now", renewed.now);
  writer.close('}');
}

Renewed read_renewed(const JsonValue& value) {
  Renewed renewed;
  read_members<Renewed>(value, renewed, renewed_members);
  return renewed;
}

void write_report(json::Writer& writer, const Report& report) {
  writer.open('{');
  write_lease_members(writer, *report.lease);
  writer.member("to", to_string(report.to));
  if (report.delay > Duration::zero()) member_duration(writer, "delay", report.delay);
  if (report.keep) member_duration(writer, "keep", *report.keep);
  writer.member("attempt", report.attempt);
  writer.member("retries", report.retries);
  writer.member("crashes", report.crashes);
  writer.member("deferrals", report.deferrals);
  if (report.tally != Tally::none) writer.member("tally", to_string(report.tally));
  if (report.front) writer.member("front", true);
  if (report.record) writer.member("record", true);
  if (report.release_key) writer.member("release_key", true);
  member_time(writer, "started_at", report.started_at);
  if (!report.result.empty()) member_body(writer, "result", report.result);
  member_text(writer, "error", report.error);
  member_text(writer, "reason", report.reason);
  if (!report.logs.empty()) member_logs(writer, report.logs);
  writer.close('}');
}

PortReports read_reports(const JsonValue& value) {
  static constexpr std::array members = {JsonMember<PortReports>{"items", read_items}};
  PortReports reports;
  read_members<PortReports>(value, reports, members);
  return reports;
}

void write_reported(json::Writer& writer, std::span<const Reported> answers) {
  writer.open('{');
  write_names<Reported>(writer, answers);
  writer.close('}');
}

std::vector<Reported> read_reported(const JsonValue& value) {
  return read_names<Reported>(value, reported_answers);
}

void write_changed(json::Writer& writer, std::span<const Changed> answers) {
  writer.open('{');
  write_names<Changed>(writer, answers);
  writer.close('}');
}

std::vector<Changed> read_changed(const JsonValue& value) {
  return read_names<Changed>(value, changed_answers);
}

}  // namespace tidemill::wire
