#include "server/meter.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace tidemill::server {

namespace {

/// Kinds beyond these are counted together, as every one costs memory here and in whatever reads it.
constexpr std::size_t kinds_max = 500;
constexpr std::string_view other_kinds = "(other)";

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

std::string label_value(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out;
}

void Histogram::add(Duration duration) {
  const double value = std::max(seconds(duration), 0.0);
  ++counts_[static_cast<std::size_t>(std::ranges::lower_bound(bounds, value) - bounds.begin())];
  sum_ += value;
}

void Histogram::write(std::string& out, std::string_view name, std::string_view labels) const {
  std::uint64_t total = 0;
  const auto to = std::back_inserter(out);
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    total += counts_[i];
    fmt::format_to(to, "{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, bounds[i], total);
  }
  total += counts_.back();
  fmt::format_to(to, "{}_bucket{{{},le=\"+Inf\"}} {}\n", name, labels, total);
  fmt::format_to(to, "{}_sum{{{}}} {}\n{}_count{{{}}} {}\n", name, labels, sum_, name, labels, total);
}

void Meter::called(std::string_view verb, Duration took, bool failed) {
  const std::lock_guard lock{mutex_};
  auto it = verbs_.find(verb);
  if (it == verbs_.end()) it = verbs_.emplace(verb, Verb{}).first;
  it->second.took.add(took);
  it->second.failed += failed ? 1U : 0U;
  if (verb == "claim" && !failed) last_claim_ = std::chrono::steady_clock::now();
}

Meter::Kind& Meter::kind_of(std::string_view kind) {
  auto it = kinds_.find(kind);
  if (it == kinds_.end() && kinds_.size() >= kinds_max) {
    kind = other_kinds;
    it = kinds_.find(kind);
  }
  return it == kinds_.end() ? kinds_[std::string{kind}] : it->second;
}

void Meter::enqueued(std::string_view kind) {
  const std::lock_guard lock{mutex_};
  ++kind_of(kind).enqueued;
}

void Meter::claimed(std::string_view kind, Duration waited) {
  const std::lock_guard lock{mutex_};
  kind_of(kind).waited.add(waited);
}

void Meter::ended(std::string_view kind, Tally tally, Duration ran) {
  if (tally == Tally::none) return;
  const std::lock_guard lock{mutex_};
  Kind& counts = kind_of(kind);
  ++(tally == Tally::success ? counts.completed : tally == Tally::failure ? counts.failed : counts.crashed);
  counts.ran.add(ran);
}

std::chrono::steady_clock::time_point Meter::last_claim() const {
  const std::lock_guard lock{mutex_};
  return last_claim_;
}

std::string Meter::text() const {
  const std::lock_guard lock{mutex_};
  std::string out;
  const auto to = std::back_inserter(out);
  const auto head = [&](std::string_view name, std::string_view type, std::string_view help) {
    fmt::format_to(to, "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  };
  head("tidemill_store_call_seconds", "histogram", "Calls of the store.");
  for (const auto& [name, verb] : verbs_)
    verb.took.write(out, "tidemill_store_call_seconds", fmt::format("verb=\"{}\"", name));
  head("tidemill_store_call_failures_total", "counter", "Calls of the store that failed.");
  for (const auto& [name, verb] : verbs_)
    fmt::format_to(to, "tidemill_store_call_failures_total{{verb=\"{}\"}} {}\n", name, verb.failed);
  head("tidemill_tasks_enqueued_total", "counter", "Tasks that this process has put in.");
  for (const auto& [name, kind] : kinds_)
    fmt::format_to(to, "tidemill_tasks_enqueued_total{{kind=\"{}\"}} {}\n", label_value(name), kind.enqueued);
  head("tidemill_attempts_total", "counter", "Attempts that have ended by way of this process.");
  for (const auto& [name, kind] : kinds_) {
    const auto line = [&](std::string_view outcome, std::uint64_t count) {
      fmt::format_to(to, "tidemill_attempts_total{{kind=\"{}\",outcome=\"{}\"}} {}\n", label_value(name),
                     outcome, count);
    };
    line("completed", kind.completed);
    line("failed", kind.failed);
    line("crashed", kind.crashed);
  }
  head("tidemill_wait_seconds", "histogram", "From when a task was due to its claim.");
  for (const auto& [name, kind] : kinds_)
    kind.waited.write(out, "tidemill_wait_seconds", fmt::format("kind=\"{}\"", label_value(name)));
  head("tidemill_run_seconds", "histogram", "From an attempt's claim to its end.");
  for (const auto& [name, kind] : kinds_)
    kind.ran.write(out, "tidemill_run_seconds", fmt::format("kind=\"{}\"", label_value(name)));
  return out;
}

}  // namespace tidemill::server
