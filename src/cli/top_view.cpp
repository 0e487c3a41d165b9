#include "cli/top_view.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "cli/table.hpp"
#include "wire/values.hpp"

namespace tidemill::cli {

namespace {

using Style = TopLine::Style;

constexpr std::array shown = {State::pending, State::active, State::scheduled,
                              State::retry,   State::held,   State::archived};

std::string decimal(double rate) { return rate == 0 ? "-" : fmt::format("{:.0f}", rate); }

/// Which rows of a section are shown.
struct Window {
  std::size_t first = 0, count = 0;
};

/// `chosen` is among them.
Window window(std::size_t rows, std::size_t room, std::size_t chosen) {
  const std::size_t count = std::min(rows, room);
  const std::size_t first = chosen < count ? 0 : chosen + 1 - count;
  return {std::min(first, rows - count), count};
}

std::string heading(std::string_view name, const Window& window, std::size_t rows) {
  if (window.count == rows) return std::string{name};
  return fmt::format("{} ({} of {})", name, window.count, rows);
}

void append(std::vector<TopLine>& lines, const Table& table, Style first = Style::head) {
  std::stringstream text;
  table.print(text);
  Style style = first;
  for (std::string line; std::getline(text, line); style = Style::plain) lines.push_back({line, style});
}

void add_queues(std::vector<TopLine>& lines, const TopSnapshot& it, const Window& window,
                std::size_t chosen) {
  std::vector<std::string> heads{heading("QUEUE", window, it.queues.size())};
  for (const State state : shown) heads.emplace_back(to_string(state));
  heads.insert(heads.end(), {"done/min", "failed/min", "oldest", ""});
  Table table{heads};
  for (std::size_t i = 1; i + 1 < heads.size(); ++i) table.right(i);
  for (std::size_t i = window.first; i < window.first + window.count; ++i) {
    const QueueInfo& queue = it.queues[i];
    const auto rate = std::ranges::find(it.queue_rates, queue.name, &Rate::name);
    const Rate known = rate == it.queue_rates.end() ? Rate{} : *rate;
    std::vector<std::string> cells{queue.name};
    for (const State state : shown) cells.push_back(std::to_string(queue.count(state)));
    const auto oldest = std::chrono::floor<std::chrono::seconds>(queue.oldest);
    cells.insert(cells.end(),
                 {decimal(known.success), decimal(known.failure),
                  oldest.count() == 0 ? "-" : wire::format_duration(oldest), queue.paused ? "paused" : ""});
    table.add(std::move(cells));
  }
  const std::size_t head = lines.size();
  append(lines, table);
  if (chosen - window.first < window.count) lines[head + 1 + chosen - window.first].style = Style::chosen;
}

void add_workers(std::vector<TopLine>& lines, const TopSnapshot& it, const Window& window) {
  Table table{{heading("WORKER", window, it.workers.size()), "HOST", "PID", "STATE", "SLOTS", "QUEUES"}};
  table.right(2).right(4);
  for (std::size_t i = window.first; i < window.first + window.count; ++i) {
    const WorkerInfo& worker = it.workers[i];
    std::string queues;
    for (const auto& [name, weight] : worker.queues) {
      queues += fmt::format("{}{}={}", queues.empty() ? "" : " ", name, weight);
    }
    table.add({worker.id, worker.host, std::to_string(worker.pid), worker.state,
               fmt::format("{}/{}", worker.busy, worker.slots), queues});
  }
  append(lines, table);
}

void add_kinds(std::vector<TopLine>& lines, const TopSnapshot& it, const Window& window) {
  Table table{{heading("KIND", window, it.kind_rates.size()), "done/min", "failed/min", "mean run"}};
  table.right(1).right(2).right(3);
  for (std::size_t i = window.first; i < window.first + window.count; ++i) {
    const Rate& kind = it.kind_rates[i];
    table.add({kind.name, decimal(kind.success), decimal(kind.failure),
               fmt::format("{:.3f} s", std::chrono::duration<double>(kind.mean).count())});
  }
  append(lines, table);
}

TopLine title(const TopSnapshot& it) {
  std::int64_t busy = 0;
  std::int64_t slots = 0;
  for (const WorkerInfo& worker : it.workers) {
    busy += worker.busy;
    slots += worker.slots;
  }
  return {fmt::format("tidemill top · {} · {} · workers {} · slots {}/{}", one_line(it.store),
                      wire::format_second(it.now), it.workers.size(), busy, slots)};
}

/// A third of the room for workers, a third for kinds, and the queues have what is left; nobody has more than
/// it needs.
std::array<std::size_t, 3> shares(const TopSnapshot& it, std::size_t room) {
  const std::size_t queues = it.queues.size();
  const std::size_t third = room / 3;
  std::size_t workers = std::min(it.workers.size(), third);
  std::size_t kinds = std::min(it.kind_rates.size(), third);
  const std::size_t first = std::min(queues, room - workers - kinds);
  std::size_t left = room - first - workers - kinds;
  const std::size_t more = std::min(it.workers.size() - workers, left);
  workers += more;
  left -= more;
  kinds = std::min(it.kind_rates.size(), kinds + left);
  return {first, workers, kinds};
}

}  // namespace

std::vector<Rate> rates(const std::vector<Stat>& stats, TimePoint now, std::string Stat::* name) {
  const TimePoint minute = std::chrono::floor<std::chrono::minutes>(now);
  const double left = 1 - std::chrono::duration<double, std::ratio<60>>(now - minute).count();
  struct Sum {
    double success = 0, failure = 0;
    std::uint64_t runs = 0;
    Duration busy{};
  };
  std::map<std::string, Sum> sums;
  for (const Stat& stat : stats) {
    if (stat.at < minute - std::chrono::minutes{1}) continue;
    const double share = stat.at < minute ? left : 1;
    Sum& sum = sums[stat.*name];
    sum.success += share * static_cast<double>(stat.success);
    sum.failure += share * static_cast<double>(stat.failure + stat.crash);
    sum.runs += stat.success + stat.failure;
    sum.busy += stat.busy;
  }
  std::vector<Rate> rates;
  for (const auto& [key, sum] : sums) {
    const auto runs = static_cast<Duration::rep>(std::max<std::uint64_t>(sum.runs, 1));
    rates.push_back({key, sum.success, sum.failure, sum.busy / runs});
  }
  std::ranges::stable_sort(rates, std::greater{},
                           [](const Rate& rate) { return rate.success + rate.failure; });
  return rates;
}

TopSnapshot take_top_snapshot(Inspector& inspector, std::string_view store) {
  TopSnapshot snapshot{.store = std::string{store}, .now = inspector.now()};
  snapshot.queues = inspector.queues();
  snapshot.workers = inspector.workers();
  const std::vector<Stat> stats = inspector.stats(Span::minute, snapshot.now - std::chrono::minutes{2},
                                                  snapshot.now + std::chrono::minutes{1});
  snapshot.queue_rates = rates(stats, snapshot.now, &Stat::queue);
  snapshot.kind_rates = rates(stats, snapshot.now, &Stat::kind);
  return snapshot;
}

std::vector<TopLine> render(const TopSnapshot& snapshot, std::size_t chosen, std::size_t width,
                            std::size_t height) {
  // The title, a blank line and a head for each section, a blank line and the keys.
  constexpr std::size_t fixed = 9;
  const std::size_t all = snapshot.queues.size() + snapshot.workers.size() + snapshot.kind_rates.size();
  const auto [queues, workers, kinds] = shares(snapshot, height == 0 ? all : std::max(height, fixed) - fixed);
  std::vector<TopLine> lines{title(snapshot), {}};
  add_queues(lines, snapshot, window(snapshot.queues.size(), queues, chosen), chosen);
  lines.emplace_back();
  add_workers(lines, snapshot, window(snapshot.workers.size(), workers, 0));
  lines.emplace_back();
  add_kinds(lines, snapshot, window(snapshot.kind_rates.size(), kinds, 0));
  if (height > 0) {
    lines.resize(std::min(lines.size(), height - 1));
    while (lines.size() + 1 < height) lines.emplace_back();
    lines.push_back({"q quit   ↑ ↓ choose a queue   p pause or resume it"});
    if (!snapshot.trouble.empty()) lines.back() = {one_line(snapshot.trouble), Style::trouble};
  }
  for (TopLine& line : lines) {
    if (width > 0) line.text = cut(line.text, width);
  }
  return lines;
}

}  // namespace tidemill::cli
